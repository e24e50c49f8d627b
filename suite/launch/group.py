"""Runs one launch: a fresh group of worker processes, limited in time, and ended as a group."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.manifests import manifest
from suite.contract.records import read_clean, read_launch
from suite.contract.registry import traits_of
from suite.launch import failures
from suite.launch.environment import ROOT, worker_environment
from suite.launch.processes import (
    POLL_SECONDS,
    ProcessGroup,
    RankProcess,
    busiest_writer,
    stopped,
)
from suite.launch.signals import undisturbed
from suite.launch.temporary import temporary_folder
from suite.launch.waiting import Ending, flooded, wait
from suite.machine.topology import share_of_cores

HELPER_SECONDS = 30.0
TRAIN, SWEEP = "suite.ranks.train", "suite.ranks.sweep"
Guard = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Outcome:
    """How a launch ended.

    Attributes:
        status: ``ok``, ``failed``, ``timeout`` or ``oom``.
        reason: Why, in words; empty if the status is ``ok``.
        seconds: Time from the start of the first process to the end of the last.
        records: The records of the ranks in the order of ranks; if the launch failed, those records
            that were written before.
        noticed_at_s: ``time.monotonic`` when the harness knew how the launch ends, before it ended
            the processes; 0 if none could be started.
    """

    status: str
    reason: str
    seconds: float
    records: list[dict[str, Any]]
    noticed_at_s: float = 0.0


@dataclass(frozen=True)
class LaunchRequest:
    """What to launch, and within which limits.

    Attributes:
        case: The case; its adapter says how many processes there are.
        case_path: The case as JSON, which every rank reads.
        inputs_path: A file that ``worker`` reads: batches, or the plan of a sweep.
        folder: The folder of this launch; remains of an earlier launch are removed from it.
        cores: Each rank is pinned to an equal share of these, or to a single one.
        dealt: The cores of each device, if they are not dealt evenly but by the place of its GPU. A
            process that drives several devices gets the cores of all of them.
        kept: Folder in which what the case compiles is kept for its next launch; None keeps
            nothing.
        timeout_seconds: After this time a group that has not finished is ended.
        python: The interpreter of the workers.
        worker: The module that each rank runs.
        prefixes: ``prefixes[i]`` is a command through which rank i is started (``ip netns exec …``,
            ``numactl …``) and which executes the worker; the helper uses that of rank 0.
        guard: Is called with the workers' process ids again and again; if it returns a reason, the
            group is ended as ``oom``.
        expects_records: Whether each rank has to leave ``rank-N.json`` in ``folder``.
        settings: Variables of the workers on top of the environment that is built for them; the
            adapter's plan must not give any of them to single ranks.
    """

    case: Case
    case_path: Path
    inputs_path: Path
    folder: Path
    cores: Sequence[int]
    timeout_seconds: float
    python: str = sys.executable
    worker: str = TRAIN
    prefixes: Sequence[Sequence[str]] = ()
    guard: Guard | None = None
    expects_records: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    dealt: Sequence[Sequence[int]] = ()
    kept: Path | None = None

    def cores_of(self, rank: int, processes: int) -> list[int]:
        """Returns the cores that a rank is pinned to."""
        if not self.dealt:
            return share_of_cores(self.cores, rank, processes)
        each = max(1, len(self.dealt) // processes)
        own = self.dealt[rank * each : (rank + 1) * each] or [self.dealt[rank % len(self.dealt)]]
        return sorted({core for device in own for core in device})

    def prefix(self, rank: int) -> Sequence[str]:
        """Returns the command through which a rank is started; empty if there is none."""
        return self.prefixes[rank] if self.prefixes else ()


Launcher = Callable[[LaunchRequest], Outcome]


class LaunchError(Exception):
    """Raised if the group could not be started; the text is the reason."""


def launch(request: LaunchRequest) -> Outcome:
    """Runs a group on this host to its end; what goes wrong around it is its outcome."""
    return bounded(request, run_here)


def bounded(
    request: LaunchRequest, run: Callable[[LaunchRequest, float], Ending]
) -> Outcome:
    """Runs a group by ``run`` and reads what its ranks left.

    Whatever goes wrong around a launch is this launch's outcome, so that a run goes on with its
    other cases: an interpreter that cannot be executed, a record that is missing or truncated.

    Args:
        request: What to launch.
        run: Starts the group and waits for its end; it gets the request and the time
            (``time.monotonic``) at which the launch began.
    """
    began, ended = time.monotonic(), Ending("failed", "", 0.0)
    records: list[dict[str, Any]] = []
    try:
        _clear(request)
        ended = run(request, began)
        records = read_launch(request.folder)
    except (LaunchError, OSError, UsageError, ValueError) as error:
        words = str(error) if isinstance(error, LaunchError) else f"{type(error).__name__}: {error}"
        ended = Ending("failed", words, ended.noticed_at_s)
    status, reason, noticed = ended
    if status == "failed" and failures.out_of_memory(failures.log_of(request.folder)):
        status = "oom"
    if status == "oom" and (clean := _clean_records(request)):
        status, reason, records = "ok", "", clean
    return Outcome(status, reason, time.monotonic() - began, records, noticed)


def _clean_records(request: LaunchRequest) -> list[dict[str, Any]]:
    """Reads what the ranks had measured when memory ran out in the passes with probes."""
    ranks = len(list(request.folder.glob("phase-*")))
    try:
        return read_clean(request.folder, ranks)
    except ValueError:
        return []


def refuse_wiring(request: LaunchRequest, plan: LaunchPlan) -> None:
    """Refuses a setting that the plan would override, because it would silently have no effect."""
    given = {name for each in plan.environment for name in each}
    if taken := sorted(given & request.settings.keys()):
        raise LaunchError(f"set by the launch itself, not by a user: {', '.join(taken)}")


def _clear(request: LaunchRequest) -> None:
    """Removes what an interrupted launch left in the folder, so that it is not taken for this
    launch's.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    for leftover in request.folder.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover != request.case_path:
            leftover.unlink()


def run_here(
    request: LaunchRequest, began: float,
    group: Callable[[IO[bytes], dict[str, str], Path], ProcessGroup] = ProcessGroup,
) -> Ending:
    """Runs the ranks of a launch, which have ended when this returns; returns how they ended.

    Args:
        request: What to launch.
        began: ``time.monotonic`` when the launch began.
        group: Makes the group from its log, its environment and its working folder.
    """
    plan = manifest(request.case.framework).launch_plan(
        request.case, request.folder, request.python
    )
    refuse_wiring(request, plan)
    survivors: list[int] = []
    _take(request.kept, plan.scratch)
    with temporary_folder() as temporary, (request.folder / "worker.log").open("ab") as log:
        environment = worker_environment(traits_of(request.case.framework), temporary)
        environment |= request.settings
        own = group(log, environment, ROOT)
        try:
            workers = _start(request, plan, own)
            status, reason, noticed = wait(
                workers, request.folder, request.timeout_seconds, began=began,
                expects_records=request.expects_records,
                watch=lambda: _exceeded(request, workers),
            )
            if status == "timeout":
                reason += f": {_post_mortem(request, workers, own)}"
            if status == "failed" and (halted := stopped(workers)):
                # The framework of another rank has noticed it before the timeout.
                reason = f"{failures.halted(halted, request.folder)}; {reason}"
        finally:
            with undisturbed():
                survivors = own.end()
                _take(plan.scratch, request.kept)
                if plan.scratch:
                    shutil.rmtree(plan.scratch, ignore_errors=True)
    if survivors:
        reason = f"{reason}; processes that SIGKILL did not end: {survivors}".lstrip("; ")
        return Ending("failed", reason, noticed)
    return Ending(status, reason, noticed)


def _post_mortem(
    request: LaunchRequest, workers: Sequence[RankProcess], group: ProcessGroup
) -> str:
    """Keeps every rank's Python stack in the log; returns where each was."""
    places = [failures.where(rank, request.folder) for rank in range(len(workers))]
    for rank in stopped(workers):
        places[rank] += ", stopped by a signal"
    for rank in (r for r, worker in enumerate(workers) if worker.poll() is not None):
        places[rank] += failures.DONE
    group.ask_for_stacks(workers)  # a rank that was stopped goes on for that moment
    failures.keep_stacks(places, request.folder)
    return failures.still_busy(places, request.folder)


def _take(source: Path | None, target: Path | None) -> None:
    """Moves what was compiled, if there is any and it has a place."""
    if source and target and source.is_dir() and not target.exists():
        source.rename(target)


def _start(
    request: LaunchRequest, plan: LaunchPlan, group: ProcessGroup
) -> list[RankProcess]:
    extra = start_helper(request, plan, group)
    shares = [request.cores_of(rank, plan.processes) for rank in range(plan.processes)]
    return [
        group.start(worker_command(request, rank, plan, cores), plan.environment[rank] | extra)
        for rank, cores in enumerate(shares)
    ]


def worker_command(
    request: LaunchRequest, rank: int, plan: LaunchPlan, cores: Sequence[int]
) -> list[str]:
    """Returns the command line of a rank that is pinned to ``cores``."""
    paths = (request.case_path, request.inputs_path, request.folder)
    return [
        *request.prefix(rank), request.python, "-m", request.worker,
        *(str(path.resolve()) for path in paths), str(rank), str(plan.processes),
        ",".join(map(str, cores)),
    ]


def start_helper(
    request: LaunchRequest, plan: LaunchPlan, group: ProcessGroup
) -> dict[str, str]:
    """Starts the helper and waits until it is ready.

    Returns the variables it gives to every worker.
    """
    if not plan.helper or plan.helper_output is None:
        return {}
    helper = group.start([*request.prefix(0), *plan.helper], {})
    deadline = time.monotonic() + min(HELPER_SECONDS, request.timeout_seconds)
    while not plan.helper_output.exists():
        if helper.poll() is not None:
            raise LaunchError(f"the launcher's helper ended with code {helper.returncode}")
        if time.monotonic() > deadline:
            raise LaunchError("the launcher's helper was not ready in time")
        time.sleep(POLL_SECONDS)
    return dict(json.loads(plan.helper_output.read_text(encoding="utf-8")))


def _exceeded(request: LaunchRequest, workers: Sequence[RankProcess]) -> Ending | None:
    """Says which limit the group has exceeded: that of memory or that of its log."""
    if much := flooded(request.folder):
        who = failures.where(busiest_writer(workers), request.folder)
        return Ending.now("failed", f"{who} wrote most of {much}")
    said = request.guard([worker.pid for worker in workers]) if request.guard else ""
    return Ending.now("oom", said) if said else None
