"""``run --find-max-batch``: the largest global batch of each proven cell that memory holds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

from suite.analysis.memory_frontier import COLUMNS, FAILED, OK, OOM
from suite.analysis.rows import CaseResult, step_seconds
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.formats import size_bytes
from suite.contract.manifests import manifest
from suite.contract.records import FrontierProbe, read_records
from suite.contract.splits.division import check_divides
from suite.launch.group import Outcome
from suite.machine.memory import Guard, available_bytes, margin_bytes
from suite.measure.runner import Progress, Runner
from suite.runfolder import files

LARGEST = 1 << 24  # samples: where a search ends that nothing else ends
FILE = "frontier.csv"


class Search:
    """Doubling until a batch does not fit, then bisection; all batches are multiples of ``unit``.

    It ends once the smallest that failed is within ``unit`` or ``resolution`` (a share) of the
    largest that fits; downwards from ``start`` where that does not fit itself.
    """

    def __init__(self, start: int, unit: int, resolution: float) -> None:
        self.start, self.unit, self.resolution = start, unit, resolution
        self.fits = self.fails = 0  # 0: none yet

    def record(self, batch: int, fits: bool) -> None:
        if fits:
            self.fits = max(self.fits, batch)
        else:
            self.fails = min(self.fails or batch, batch)

    def next(self) -> int:
        """The batch to try, 0 when the frontier is known."""
        if not self.fails:
            batch = 2 * self.fits or self.start
            return batch if batch <= LARGEST else 0
        gap = self.fails - self.fits
        if gap <= max(self.unit, self.resolution * self.fits):
            return 0
        return self.fits + max(self.unit, gap // 2 // self.unit * self.unit)


def batch_unit(case: Case) -> int:
    """The smallest global batch that the case's split divides."""
    for batch in count(1):
        try:
            check_divides(replace(case, global_batch=batch))
        except UsageError:
            if batch >= case.spec.global_batch:  # refused for another reason
                raise
        else:
            return batch
    raise AssertionError


def find_frontiers(runner: Runner) -> None:
    """Searches each cell that is proven and ok; writes ``frontier.csv`` after every probe."""
    known = runner.run.setdefault("frontier", {"memory_bytes": None})
    if known["memory_bytes"] is None:
        known["memory_bytes"] = max(0, available_bytes() - margin_bytes())
    open_ones = [r for r in runner.results if r.status == "ok" and r.good]
    for number, result in enumerate(open_ones):
        guard = cell_guard(result.case, runner.config.memory_limit, known["memory_bytes"])

        def tell(batch: int, done: int = number, name: str = result.case.case_id) -> None:
            text = f"frontier: {name}, batch {batch}"
            runner.show(Progress(text, done, len(open_ones), None))

        search_cell(runner, result, guard, tell)
        runner.save()


def cell_guard(case: Case, asked: int | None, machine: int) -> Guard:
    """A CPU device's limit is the user's, else its share of what the machine can spare.

    A GPU's allocator holds its own limit; the guard then looks after the host alone.
    """
    limit = (asked or machine // case.devices) if case.device == "cpu" else 0
    return Guard(limit, case.devices, margin_bytes())


def search_cell(
    runner: Runner, result: CaseResult, guard: Guard, tell: Callable[[int], None]
) -> None:
    """Goes on from the probes that the result has."""
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
    limit = guard.limit_bytes or runner.config.memory_limit or 0
    probed = replace(case, global_batch=batch, memory_limit_bytes=limit, probe_steps=0)
    folder = runner.folder / "cases" / case.case_id / f"probe-{batch}"
    if guard.limit_bytes:
        plan = manifest(case.framework).launch_plan(probed, folder, "")
        limit = guard.process_limit(plan.processes)
    outcome = runner.starter.probe(probed, case, folder, guard)
    return judge_probe(case.case_id, batch, outcome, limit)


def judge_probe(case_id: str, batch: int, outcome: Outcome, allowed: int) -> FrontierProbe:
    """What ended well but above the limit between two looks of the guard did not fit either.

    ``allowed`` is a process's limit in bytes, 0 for none.
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
    rows = [asdict(probe) for result in results for probe in result.probes]
    files.write_table(folder / FILE, COLUMNS, rows)
