"""What other programs take of the cores while a run measures, and which programs they are."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from suite.machine.probe import known

# (process id, when it was started): an id may be another process's later.
Identity = tuple[int, float]
# Programs below this share of a core are not named, and no more than this many.
WORTH_NAMING, NAMED_AT_MOST = 0.05, 3
IDLE = ("idle", "iowait", "steal", "guest", "guest_nice")


@dataclass(frozen=True)
class Neighbour:
    """A program beside the run; ``cores`` is how many it kept busy, on average."""

    name: str
    pid: int
    cores: float


@dataclass(frozen=True)
class Usage:
    """Processor seconds until now: of each process, of this one with its children."""

    processes: Mapping[Identity, tuple[str, float]]
    own_s: float


def usage() -> Usage:
    """Reads every process's CPU time, in some milliseconds, except of those it may not read."""
    mine: list[psutil.Process] = known(lambda: psutil.Process().children(recursive=True), [])
    own = {os.getpid(), *(process.pid for process in mine)}
    return Usage(known(lambda: _processes(own), {}), _own_seconds(mine))


def _processes(own: Collection[int]) -> dict[Identity, tuple[str, float]]:
    """Returns the processor seconds of each process but our own."""
    found = {}
    for process in psutil.process_iter(["pid", "name", "create_time", "cpu_times"]):
        told = process.info
        if told["cpu_times"] is not None and told["pid"] not in own:
            times = told["cpu_times"]
            found[told["pid"], told["create_time"]] = told["name"], times.user + times.system
    return found


def _own_seconds(living: Sequence[psutil.Process]) -> float:
    """Returns the processor seconds of this process and of its descendants, ended or alive.

    A rank that was forked is a child of a process that lives on after it, and counts there.
    """
    own = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(one.ru_utime + one.ru_stime for one in own)
    for process in living:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)


def neighbours(before: Usage, after: Usage, seconds: float) -> list[Neighbour]:
    """Returns the programs that used most in between, the busiest first."""
    found = []
    for identity, (name, used) in after.processes.items():
        cores = (used - before.processes.get(identity, ("", 0.0))[1]) / seconds
        if cores >= WORTH_NAMING:
            found.append(Neighbour(name, identity[0], round(cores, 3)))
    return sorted(found, key=lambda one: -one.cores)[:NAMED_AT_MOST]


def others_cores(
    before: Usage, after: Usage, cores_before: Sequence[Mapping[str, float]],
    cores_after: Sequence[Mapping[str, float]], seconds: float,
) -> float | None:
    """Returns how many of the run's cores other programs kept busy, also those that have ended.

    Args:
        before: CPU times of the processes at the start.
        after: CPU times of the processes at the end.
        cores_before: Seconds that each core had spent in each state, at the start.
        cores_after: The same at the end.
        seconds: Time between the two.

    Returns:
        None where the system does not tell.
    """
    if not cores_after or len(cores_before) != len(cores_after) or seconds <= 0:
        return None
    busy = _busy(cores_after) - _busy(cores_before)
    return round(max(0.0, busy - (after.own_s - before.own_s)) / seconds, 3)


def _busy(cores: Sequence[Mapping[str, float]]) -> float:
    return sum(used for times in cores for name, used in times.items() if name not in IDLE)
