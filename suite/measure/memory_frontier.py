"""``run --find-max-batch``: searches the largest global batch that fits in memory, per case.

Only cases that passed their proof are searched.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from suite.analysis.memory_frontier import COLUMNS, FAILED, OK, OOM
from suite.analysis.rows import CaseResult, step_seconds
from suite.contract.case import Case
from suite.contract.formats import size_bytes
from suite.contract.manifests import manifest
from suite.contract.records import FrontierProbe, read_records
from suite.contract.splits.division import batch_unit
from suite.launch.group import Outcome
from suite.machine.memory import Guard, available_bytes, margin_bytes
from suite.measure.progress import Progress
from suite.measure.runner import Runner
from suite.runfolder import files

LARGEST = 1 << 24  # samples: a search that no lack of memory ends stops here
FILE = "frontier.csv"


class Search:
    """Searches the largest batch that fits: doubles until a batch fails, then bisects.

    If the first batch already fails, the bisection runs downwards from it. The search ends once the
    smallest batch that failed is close enough to the largest batch that fits.

    Args:
        Start: The first batch to try, in samples.
        unit: All batches are multiples of it, in samples.
        resolution: How close is close enough, as a share of the largest batch that fits; a gap of
            ``unit`` always is.
    """

    def __init__(self, start: int, unit: int, resolution: float) -> None:
        self.start, self.unit, self.resolution = start, unit, resolution
        self.fits = self.fails = 0  # samples; 0 while no batch did

    def record(self, batch: int, fits: bool) -> None:
        """Takes note of whether ``batch`` samples fit in memory."""
        if fits:
            self.fits = max(self.fits, batch)
        else:
            self.fails = min(self.fails or batch, batch)

    def next(self) -> int:
        """Returns the batch to try next, in samples; 0 once the search is over."""
        if not self.fails:
            batch = 2 * self.fits or self.start
            return batch if batch <= LARGEST else 0
        gap = self.fails - self.fits
        if gap <= max(self.unit, self.resolution * self.fits):
            return 0
        return self.fits + max(self.unit, gap // 2 // self.unit * self.unit)


def find_frontiers(runner: Runner) -> None:
    """Searches every case that ran and passed its proof; ``frontier.csv`` grows probe by probe.

    The memory that the machine can spare is measured once and stored in the run's facts, so that a
    resumed run goes on with the same limit.

    Args:
        Runner: The run, with the results of its cases.
    """
    facts = runner.run.setdefault("frontier", {"memory_bytes": None})
    if facts["memory_bytes"] is None:
        runner.starter.begin_block()  # what waits to be forked gives its memory back
        facts["memory_bytes"] = max(0, available_bytes() - margin_bytes())
    proven = [r for r in runner.results if r.status == "ok" and r.good]
    for number, result in enumerate(proven):
        guard = cell_guard(result.case, runner.config.memory_limit, facts["memory_bytes"])

        def tell(batch: int, done: int = number, name: str = result.case.case_id) -> None:
            text = f"frontier: {name}, batch {batch}"
            runner.show(Progress(text, done, len(proven), None))

        search_cell(runner, result, guard, tell)
        runner.save()


def cell_guard(case: Case, asked: int | None, machine: int) -> Guard:
    """Makes the guard that ends a probe before it takes more memory than it may.

    A GPU's allocator enforces the limit of its device by itself, so for a GPU the guard watches
    only the memory of the host.

    Args:
        Case: The case to search.
        asked: The user's limit for a device in bytes, if there is one.
        machine: Bytes of memory that the machine can spare. Without a limit from the user they
            are divided evenly over the CPU devices.

    Returns:
        The guard.
    """
    limit = (asked or machine // case.devices) if case.device == "cpu" else 0
    return Guard(limit, case.devices, margin_bytes())


def search_cell(
    runner: Runner, result: CaseResult, guard: Guard, tell: Callable[[int], None]
) -> None:
    """Searches the largest batch of a case, continuing from the probes that it already has.

    Args:
        Runner: The run; it launches the probes.
        result: The case's result; each probe is appended to it.
        guard: Limits the memory of the probes.
        tell: Called with each batch, in samples, before it is tried.
    """
    case = result.case
    search = Search(case.spec.global_batch, batch_unit(case), runner.config.batch_resolution)
    for probe in result.probes:
        search.record(probe.batch, probe.status == OK)
    while batch := search.next():
        tell(batch)
        probe = _probe(runner, case, batch, guard)
        search.record(batch, probe.status == OK)
        result.probes.append(probe)
        write_probes(runner.folder, runner.results)


def _probe(runner: Runner, case: Case, batch: int, guard: Guard) -> FrontierProbe:
    """Launches the case with a global batch of ``batch`` samples and judges whether it fits."""
    limit = guard.limit_bytes or runner.config.memory_limit or 0
    probed = replace(case, global_batch=batch, memory_limit_bytes=limit, probe_steps=0)
    folder = runner.folder / "cases" / case.case_id / f"probe-{batch}"
    if guard.limit_bytes:
        plan = manifest(case.framework).launch_plan(probed, folder, "")
        limit = guard.process_limit(plan.processes)
    outcome = runner.starter.probe(probed, case, folder, guard)
    return judge_probe(case.case_id, batch, outcome, limit)


def judge_probe(case_id: str, batch: int, outcome: Outcome, allowed: int) -> FrontierProbe:
    """Decides whether a probe fitted in memory.

    A probe that ended well but exceeded the limit between two checks of the guard did not fit
    either, and a SIGKILL counts as the kernel's answer to a lack of memory.

    Args:
        Case_id: Name of the case.
        batch: Global batch in samples.
        outcome: How the launch ended, with the records of its ranks.
        allowed: Limit of each process in bytes; 0 for no limit.

    Returns:
        The probe, with the peak of its largest process in bytes and its median step in seconds.
    """
    status, reason = outcome.status, outcome.reason
    records = read_records(outcome.records)
    peak = max((record.peak_memory_bytes for record in records), default=None)
    if status == FAILED and "SIGKILL" in reason:
        status, reason = OOM, f"{reason}, as the kernel ends what exceeds memory"
    if status == OK and allowed and peak and peak > allowed:
        status = OOM
        reason = f"a process held {size_bytes(peak)} of memory, its limit is {size_bytes(allowed)}"
    seconds = float(statistics.median(step_seconds(records))) if status == OK else None
    return FrontierProbe(
        case_id=case_id, batch=batch, status=status, reason=reason, peak_memory_bytes=peak,
        step_time_s=seconds, limit_bytes=allowed or None,
    )


def write_probes(folder: Path, results: Sequence[CaseResult]) -> None:
    """Writes the probes of all cases to ``frontier.csv`` in the run folder."""
    rows = [asdict(probe) for result in results for probe in result.probes]
    files.write_table(folder / FILE, COLUMNS, rows)
