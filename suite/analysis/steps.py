"""Arranges the traces of a launch's ranks by step and device, whichever process drove a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suite.contract.records import CommEvent, Launch, RankRecord, StepTrace

Interval = tuple[float, float]
# The passes that leave traces: "traces" by the suite's own probes, "profiles" by the framework's
# profiler.
Pass = Literal["traces", "profiles"]
PASSES: tuple[Pass, ...] = ("traces", "profiles")


@dataclass(frozen=True)
class DeviceStep:
    """What one device did in one step.

    Attributes:
        events: Its communications.
        clock: Its compute clock: points (time, compute seconds so far).
        queued: A clock of the communicating threads of its process: points (time, seconds so far
            in which they were ready to run but had no core).
        host: Name of the host that it is on; empty in records of early releases.
    """

    events: list[CommEvent]
    clock: Sequence[Interval]
    queued: Sequence[Interval] = ()
    host: str = ""


# All devices of one step, in the order of the ranks.
Step = list[DeviceStep]


def steps_of(records: Launch, name: Pass) -> list[Step]:
    """Returns the steps of a pass, each with all its devices in the order of the ranks.

    Args:
        records: The ranks' records.
        name: The pass, ``traces`` or ``profiles``.

    Returns:
        The steps; empty if the launch has no such pass.
    """
    passes = [traces_of(record, name) for record in records]
    if not all(passes) or not passes:
        return []
    count = min(map(len, passes))
    return [
        [device for record, traces in zip(records, passes, strict=True)
         for device in _devices(traces[step], record.host)]
        for step in range(count)
    ]


def traces_of(record: RankRecord, name: Pass) -> list[StepTrace]:
    """Returns what was seen of each step of a pass in one rank."""
    return record.traces if name == "traces" else record.profiles


def _devices(trace: StepTrace, host: str) -> list[DeviceStep]:
    events: list[list[CommEvent]] = [[] for _ in range(max(1, len(trace.busy)))]
    for event in trace.events:
        while event.device >= len(events):
            events.append([])
        events[event.device].append(event)
    clocks = [*trace.busy, *([[]] * (len(events) - len(trace.busy)))]
    return [DeviceStep(own, clock, trace.queued, host)
            for own, clock in zip(events, clocks, strict=True)]
