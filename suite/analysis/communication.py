"""Computes T_comm, its parts, B, N and load balance from the raw traces of a launch.

All frameworks are reduced in the same way. A device's T_comm is the union of the intervals in
which it has a communication in flight: from the moment it is ready for it until it can use the
result. The moment at which the last participant is ready divides each interval into two parts:
*waiting* for that participant, then *transfer*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from suite.analysis.compute import clocked_steps, occupied_seconds
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
from suite.contract.spans import union, union_length

KIND_COLUMNS = {
    "all_reduce": "t_comm_all_reduce_s",
    "all_gather": "t_comm_all_gather_s",
    "reduce_scatter": "t_comm_all_gather_s",
    "broadcast": "t_comm_all_gather_s",
    "send_recv": "t_comm_send_recv_s",
}
# Separates the kind of a collective from how many devices take part: ``all_reduce@2``.
AMONG = "@"
# Separates it from on how many hosts they are, if that is more than one: ``all_reduce@2^2``.
ACROSS = "^"


@dataclass(frozen=True)
class Communication:
    """One communication with the events of all its participants put together.

    Attributes:
        kind: Kind of communication.
        payload_bytes: Size of the payload.
        last_ready_s: When the last participant was ready, in seconds.
        end_s: When the last participant had the result, in seconds.
        members: Number of devices of a collective; 0 for a point-to-point transfer.
        hosts: Number of hosts on which its participants are.
    """

    kind: str
    payload_bytes: int
    last_ready_s: float
    end_s: float
    members: int = 0
    hosts: int = 1


def communication(records: Launch) -> dict[str, float]:
    """Computes the T_comm columns of one launch.

    Args:
        records: The ranks' records.

    Returns:
        Column to its median over the timed steps, in seconds and bytes; empty without traces. If
        the profiler saw communications with their sizes, B and N are the profiler's, which counts
        them after fusion.
    """
    columns = _medians(_step_columns(step) for step in steps_of(records, "traces"))
    columns |= _volume(steps_of(records, "traces"))
    columns |= _medians(_exposure(step) for step in clocked_steps(records))
    return columns | _volume(steps_of(records, "profiles"))


def waits(records: Launch) -> list[float]:
    """Returns how long each device waited for others, in seconds: median over timed steps."""
    per_step = [
        [union_length(device_waits) for device_waits in _waits(step, matched_events(step))]
        for step in steps_of(records, "traces")
    ]
    return [float(value) for value in np.median(per_step, axis=0)] if per_step else []


def payloads(records: Launch, name: Pass = "traces") -> dict[str, list[int]]:
    """Lists the payloads of a step by kind of communication.

    Args:
        records: The ranks' records.
        name: The pass: ``traces`` has what was asked of the framework, ``profiles`` what Horovod
            made of it by fusion.

    Returns:
        Kind to the payload bytes of each communication of the pass's first step, if its size is
        known. A collective of some devices has a kind of its own: of four devices,
        ``all_reduce@2`` is among two, and ``all_reduce@2^2`` among two that are on two hosts.
    """
    steps = steps_of(records, name)
    by_kind: dict[str, list[int]] = {}
    for event in matched_events(steps[0]).values() if steps else ():
        if event.payload_bytes:
            kind = group_kind(event, steps[0])
            by_kind.setdefault(kind, []).append(event.payload_bytes)
    return by_kind


def group_kind(event: Communication, step: Step) -> str:
    """Returns ``kind``, or ``kind@members`` if only some devices take part.

    ``^hosts`` follows if they are on several hosts.

    If only one device of a step has events, as in a framework's own timeline, it speaks for all.

    Args:
        event: A communication of the step.
        step: All devices of the step.
    """
    observers = sum(bool(device.events) for device in step)
    alone = observers == 1 and event.kind != "send_recv"
    everyone = event.members in (0, len(step)) or observers == 1
    kind = event.kind if everyone else f"{event.kind}{AMONG}{event.members}"
    hosts = len({device.host for device in step}) if alone else event.hosts
    return kind if hosts < 2 else f"{kind}{ACROSS}{hosts}"


def _medians(columns_by_step: Iterable[dict[str, float]]) -> dict[str, float]:
    steps = [columns for columns in columns_by_step if columns]
    if not steps:
        return {}
    names = set.intersection(*(set(step) for step in steps))
    return {name: float(np.median([step[name] for step in steps])) for name in sorted(names)}


def _step_columns(step: Step) -> dict[str, float]:
    matched = matched_events(step)
    if not matched:
        return {}
    result = {
        "t_comm_s": _mean_union(step, lambda event: True),
        "t_comm_wait_s": _mean(union_length(own) for own in _waits(step, matched)),
        "t_comm_transfer_s": _mean(union_length(own) for own in transfer_intervals(step, matched)),
    }
    for column in dict.fromkeys(KIND_COLUMNS[event.kind] for event in matched.values()):
        result[column] = _mean_union(step, _in_column(column))
    return result


def _volume(steps: list[Step]) -> dict[str, float]:
    """Computes N, and B such that B·N is what a step moves.

    Medians are taken of both, because the steps of a pass may be fused differently.
    """
    matched = [list(matched_events(step).values()) for step in steps]
    totals = [sum(event.payload_bytes for event in step) for step in matched]
    if not all(totals) or not totals:
        return {}
    count = float(np.median([len(step) for step in matched]))
    return {"comm_count": count, "comm_bytes": float(np.median(totals)) / count}


def _in_column(column: str) -> Callable[[CommEvent], bool]:
    return lambda event: KIND_COLUMNS[event.kind] == column


def matched_events(step: Step) -> dict[str, Communication]:
    """Puts the events of all devices that belong to one communication together.

    Args:
        step: All devices of the step.

    Returns:
        Key of the events to the communication that they are parts of.
    """
    groups: dict[str, list[CommEvent]] = {}
    hosts: dict[str, set[str]] = {}
    for device in step:
        for event in device.events:
            groups.setdefault(event.key, []).append(event)
            hosts.setdefault(event.key, set()).add(device.host)
    return {key: _join(events, len(hosts[key])) for key, events in groups.items()}


def _join(events: list[CommEvent], hosts: int) -> Communication:
    """Makes one communication of the events of its participants.

    The event of a sender only says when the tensor was ready; its own end is not used. A mark may
    be taken late, so the last participant is never taken to be ready after the result was there.
    """
    end = max(event.end_s for event in events if event.role != "send")
    return Communication(
        events[0].kind,
        max(event.payload_bytes for event in events),
        min(end, max(event.start_s for event in events)),
        end,
        sum(event.role == "member" for event in events),
        hosts,
    )


def _waits(step: Step, matched: dict[str, Communication]) -> list[list[Interval]]:
    """Returns for each device the intervals from its own readiness to the last participant's."""
    return [
        [(e.start_s, max(e.start_s, matched[e.key].last_ready_s)) for e in own]
        for own in map(in_flight, step)
    ]


def transfer_intervals(step: Step, matched: dict[str, Communication]) -> list[list[Interval]]:
    """Returns for each device the intervals in which its communications transfer data.

    Args:
        step: All devices of the step.
        matched: What ``matched_events`` makes of the step.

    Returns:
        For each device, intervals in seconds from the moment the last participant is ready until
        the last one has the result.
    """
    return [
        [(matched[e.key].last_ready_s, matched[e.key].end_s) for e in own]
        for own in map(in_flight, step)
    ]


def in_flight(device: DeviceStep) -> list[CommEvent]:
    """Returns the events that count as in flight on a device.

    A point-to-point transfer is in flight for its receiver only, because sending is asynchronous.
    """
    return [event for event in device.events if event.role != "send"]


def _spans(device: DeviceStep, chosen: Callable[[CommEvent], bool]) -> list[Interval]:
    return [(e.start_s, e.end_s) for e in in_flight(device) if chosen(e)]


def _mean_union(step: Step, chosen: Callable[[CommEvent], bool]) -> float:
    return _mean(union_length(_spans(device, chosen)) for device in step)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _exposure(step: Step) -> dict[str, float]:
    """Returns exposed T_comm: communication minus the compute that went on at the same time."""
    if not any(in_flight(device) for device in step):
        return {}
    return {"t_comm_exposed_s": _mean(map(_exposed, step))}


def _exposed(device: DeviceStep) -> float:
    times, busy = occupied_seconds(device.clock)
    edges = np.asarray(union(_spans(device, lambda event: True)), float).reshape(-1, 2)
    computed = np.diff(np.interp(edges, times, busy), axis=1).sum()
    return max(0.0, float(np.diff(edges, axis=1).sum() - computed))


def missing_reason(records: Launch) -> str:
    """Returns why no pass has some figure, in the adapter's words; empty if none is missing.

    Such a reason begins with what is missing, such as ``T_i: …``.
    """
    clocked = bool(clocked_steps(records))
    reasons = {
        trace.missing for record in records for name in PASSES
        for trace in traces_of(record, name)
    }
    return "; ".join(
        sorted(reason for reason in reasons - {""}
               if not (clocked and reason.startswith("T_i")))
    )
