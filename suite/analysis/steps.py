"""The traces of a launch's ranks as steps of devices, in one order whatever drove the devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suite.contract.records import CommEvent, Launch, RankRecord, StepTrace

Interval = tuple[float, float]
# The passes that leave traces: with the suite's own probes, and under the framework's profiler.
Pass = Literal["traces", "profiles"]
PASSES: tuple[Pass, ...] = ("traces", "profiles")


@dataclass(frozen=True)
class DeviceStep:
    """One device in one step: its events, its compute clock as (time, busy) points.

    ``queued`` is the clock of its process's communicating threads: (time, seconds without a core).
    """

    events: list[CommEvent]
    clock: Sequence[Interval]
    queued: Sequence[Interval] = ()


Step = list[DeviceStep]


def steps_of(records: Launch, name: Pass) -> list[Step]:
    """[step][device] of the pass ``traces`` or ``profiles``, ranks in order; [] without one."""
    passes = [traces_of(record, name) for record in records]
    if not all(passes) or not passes:
        return []
    count = min(map(len, passes))
    return [
        [device for traces in passes for device in _devices(traces[step])]
        for step in range(count)
    ]


def traces_of(record: RankRecord, name: Pass) -> list[StepTrace]:
    """What probes saw of each step of a pass, in one rank."""
    return record.traces if name == "traces" else record.profiles


def _devices(trace: StepTrace) -> list[DeviceStep]:
    count = max([len(trace.busy), *(event.device + 1 for event in trace.events), 1])
    clocks = [*trace.busy, *([[]] * (count - len(trace.busy)))]
    return [
        DeviceStep([e for e in trace.events if e.device == number], clocks[number],
                   trace.queued)
        for number in range(count)
    ]
