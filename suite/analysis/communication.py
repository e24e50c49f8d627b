"""T_comm, waiting, transfer, exposure, B, N and load balance from the raw traces of a launch.

One reduction for every framework. A device's T_comm is the union of the intervals in which it has
a communication in flight: from when it is ready for one until it can use the result. Each interval
has two parts, split by the last participant's readiness: *waiting* for it, then *transfer*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from suite.analysis.statistics import union, union_length
from suite.analysis.steps import (
    PASSES,
    DeviceStep,
    Interval,
    Pass,
    Step,
    steps_of,
    traces_of,
)
from suite.contract.records import CommEvent, Launch

KIND_COLUMNS = {
    "all_reduce": "t_comm_all_reduce_s",
    "all_gather": "t_comm_all_gather_s",
    "reduce_scatter": "t_comm_all_gather_s",
    "broadcast": "t_comm_all_gather_s",
    "send_recv": "t_comm_send_recv_s",
}
# Between the kind of a collective and how many of a step's devices take part.
AMONG = "@"


@dataclass(frozen=True)
class Communication:
    """One communication of a group: payload bytes, and the interval in which data moved.

    ``members`` are the devices of a collective, 0 of a hop.
    """

    kind: str
    payload_bytes: int
    last_ready_s: float
    end_s: float
    members: int = 0


def communication(records: Launch) -> dict[str, float]:
    """Columns of one launch, medians over its timed steps, seconds and bytes; {} if untraced.

    B and N are the profiler's where it saw communications with sizes: after fusion.
    """
    found = _medians(_one_step(step) for step in steps_of(records, "traces"))
    found |= _volume(steps_of(records, "traces"))
    found |= _medians(_exposure(step) for step in _clocked(records))
    return found | _volume(steps_of(records, "profiles"))


def waits(records: Launch) -> list[float]:
    """Seconds that each device waited for others, median over timed steps."""
    per_step = [
        [union_length(device_waits) for device_waits in _waits(step, matched_events(step))]
        for step in steps_of(records, "traces")
    ]
    return [float(value) for value in np.median(per_step, axis=0)] if per_step else []


def payloads(records: Launch, name: Pass = "traces") -> dict[str, list[int]]:
    """Kind -> payload bytes of each communication of a pass's first step, where sizes are known.

    ``traces`` is what was asked of the framework, ``profiles`` what Horovod made of it by fusion.
    A collective of fewer than all devices is told apart: of four ``all_reduce@2`` is among two.
    """
    steps = steps_of(records, name)
    found: dict[str, list[int]] = {}
    for one in matched_events(steps[0]).values() if steps else ():
        if one.payload_bytes:
            kind = group_kind(one, steps[0])
            found.setdefault(kind, []).append(one.payload_bytes)
    return found


def group_kind(one: Communication, step: Step) -> str:
    """``kind`` or ``kind@members``; what only one device tells of, it tells of all."""
    observers = sum(bool(device.events) for device in step)
    everyone = one.members in (0, len(step)) or observers == 1
    return one.kind if everyone else f"{one.kind}{AMONG}{one.members}"


def _clocked(records: Launch) -> list[Step]:
    """Steps with a compute clock on every device: of the timed pass, else of the traced one."""
    for name in PASSES:
        steps = steps_of(records, name)
        if steps and all(device.clock for step in steps for device in step):
            return steps
    return []


def _medians(found: Iterable[dict[str, float]]) -> dict[str, float]:
    steps = [step for step in found if step]
    if not steps:
        return {}
    names = set.intersection(*(set(step) for step in steps))
    return {name: float(np.median([step[name] for step in steps])) for name in sorted(names)}


def _one_step(step: Step) -> dict[str, float]:
    matched = matched_events(step)
    if not matched:
        return {}
    result = {
        "t_comm_s": _mean_union(step, lambda event: True),
        "t_comm_wait_s": _mean(union_length(own) for own in _waits(step, matched)),
        "t_comm_transfer_s": _mean(union_length(own) for own in transfer_intervals(step, matched)),
    }
    for column in dict.fromkeys(KIND_COLUMNS[one.kind] for one in matched.values()):
        result[column] = _mean_union(step, _in_column(column))
    return result


def _volume(steps: list[Step]) -> dict[str, float]:
    """N, and B such that B·N is what a step moves: steps of a pass may fuse differently."""
    matched = [list(matched_events(step).values()) for step in steps]
    totals = [sum(one.payload_bytes for one in step) for step in matched]
    if not all(totals) or not totals:
        return {}
    count = float(np.median([len(step) for step in matched]))
    return {"comm_count": count, "comm_bytes": float(np.median(totals)) / count}


def _in_column(column: str) -> Callable[[CommEvent], bool]:
    return lambda event: KIND_COLUMNS[event.kind] == column


def matched_events(step: Step) -> dict[str, Communication]:
    """Key -> the communication that the devices' events of that key are parts of."""
    groups: dict[str, list[CommEvent]] = {}
    for device in step:
        for event in device.events:
            groups.setdefault(event.key, []).append(event)
    return {key: _join(events) for key, events in groups.items()}


def _join(events: list[CommEvent]) -> Communication:
    """A hop's send only says when the tensor was ready; its own end is not used.

    A mark may be taken late, but no participant was ready after the result was there.
    """
    end = max(event.end_s for event in events if event.role != "send")
    return Communication(
        events[0].kind,
        max(event.payload_bytes for event in events),
        min(end, max(event.start_s for event in events)),
        end,
        sum(event.role == "member" for event in events),
    )


def _waits(step: Step, matched: dict[str, Communication]) -> list[list[Interval]]:
    """Per device, from its own readiness to the last participant's."""
    return [
        [(e.start_s, max(e.start_s, matched[e.key].last_ready_s)) for e in own]
        for own in map(in_flight, step)
    ]


def transfer_intervals(step: Step, matched: dict[str, Communication]) -> list[list[Interval]]:
    """Per device, from the last participant's readiness until the last of them has the result."""
    return [
        [(matched[e.key].last_ready_s, matched[e.key].end_s) for e in own]
        for own in map(in_flight, step)
    ]


def in_flight(device: DeviceStep) -> list[CommEvent]:
    """A hop is in flight for its receiver; sending is asynchronous."""
    return [event for event in device.events if event.role != "send"]


def _spans(device: DeviceStep, chosen: Callable[[CommEvent], bool]) -> list[Interval]:
    return [(e.start_s, e.end_s) for e in in_flight(device) if chosen(e)]


def _mean_union(step: Step, chosen: Callable[[CommEvent], bool]) -> float:
    return _mean(union_length(_spans(device, chosen)) for device in step)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _exposure(step: Step) -> dict[str, float]:
    """Wall time of the union of communication less the compute that went on meanwhile."""
    if not any(in_flight(device) for device in step):
        return {}
    return {"t_comm_exposed_s": _mean(map(_exposed, step))}


def _exposed(device: DeviceStep) -> float:
    times, busy = _occupied(device.clock)
    edges = np.asarray(union(_spans(device, lambda event: True)), float).reshape(-1, 2)
    computed = np.diff(np.interp(edges, times, busy), axis=1).sum()
    return max(0.0, float(np.diff(edges, axis=1).sum() - computed))


def _occupied(clock: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """Times and the seconds so far in which at least one thread of the device computed."""
    times, busy = np.asarray(clock, float).T
    computing = np.minimum(np.diff(busy), np.diff(times))
    return times, np.concatenate([[0.0], np.cumsum(computing)])


def load_balance(records: Launch) -> dict[str, float]:
    """L = max(T_i) / avg(T_i) of a launch, T_i the median busy time of device i over its steps.

    The per-step form, a sum of maxima over a sum of averages, shows imbalance that moves about.
    """
    busy = compute_seconds(records)
    if not busy.size:
        return {}
    devices = np.median(busy, axis=0)
    return {
        "compute_max_s": float(devices.max()),
        "compute_avg_s": float(devices.mean()),
        "load_balance": float(devices.max() / devices.mean()),
        "load_balance_step": float(busy.max(axis=1).sum() / busy.mean(axis=1).sum()),
    }


def compute_seconds(records: Launch) -> np.ndarray:
    """(steps, devices) busy compute time; empty where no pass has a clock for every device."""
    return np.asarray(
        [[device.clock[-1][1] - device.clock[0][1] for device in step]
         for step in _clocked(records)]
    )


def clocked_step_seconds(records: Launch) -> float | None:
    """Length of the step that ``compute_seconds`` is read in: mean over devices, median over steps.

    None where no pass has a clock for every device.
    """
    lengths = [
        _mean(device.clock[-1][0] - device.clock[0][0] for device in step)
        for step in _clocked(records)
    ]
    return float(np.median(lengths)) if lengths else None


def idle_share(records: Launch) -> float | None:
    """Share of a step in which a device computes nothing, mean over devices, median over steps.

    A pipeline's bubble; None where no pass has a clock for every device.
    """
    shares = [_mean(_idle(device.clock) for device in step) for step in _clocked(records)]
    return float(np.median(shares)) if shares else None


def _idle(clock: Sequence[Interval]) -> float:
    times, computed = _occupied(clock)
    return float(1.0 - computed[-1] / (times[-1] - times[0]))


def missing_reason(records: Launch) -> str:
    """Why no pass has a figure, in the adapter's words, which begin with what is missing."""
    clocked = bool(_clocked(records))
    reasons = {
        trace.missing for record in records for name in PASSES
        for trace in traces_of(record, name)
    }
    return "; ".join(
        sorted(one for one in reasons - {""} if not (clocked and one.startswith("T_i")))
    )
