"""What each communication of a step took, and what of it was a thread's waiting for a core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from suite.analysis.comm_model import share_of
from suite.analysis.communication import (
    group_kind,
    in_flight,
    matched_events,
    payloads,
    transfer_intervals,
)
from suite.analysis.statistics import median, union, union_length
from suite.analysis.steps import DeviceStep, Interval, Step, steps_of
from suite.contract.records import Launch

Calls = dict[str, list[tuple[int, float]]]


def transfers(records: Launch) -> Calls:
    """Kind -> (payload bytes, seconds) of each communication: medians over timed steps.

    What transfers at the same time shares the time: each gets what it adds to the union, so that
    the seconds add up to T_comm transfer. Where the framework fuses what it is asked for, the
    communications are those that happened, and each has an equal share of the time.
    """
    asked = _asked(records)
    fused = _fused(records)
    if not asked or not fused:
        return asked
    devices = len(steps_of(records, "traces")[0])
    total = together(asked, devices)
    shares = sum(share_of(kind, devices) * len(sizes) for kind, sizes in fused.items())
    return {kind: [(size, total / shares) for size in sizes] for kind, sizes in fused.items()}


def _asked(records: Launch) -> Calls:
    """The same for what was asked of the framework.

    Medians of parts do not add up to the median of the whole, so they are scaled to it.
    """
    steps = steps_of(records, "traces")
    if not steps:
        return {}
    seconds: dict[str, list[float]] = {}
    for step in steps:
        for key, part in _parts(step):
            seconds.setdefault(key, []).append(part)
    found: Calls = {}
    for key, one in matched_events(steps[0]).items():
        if one.payload_bytes:
            kind = group_kind(one, steps[0])
            found.setdefault(kind, []).append((one.payload_bytes, median(seconds[key])))
    parts = together(found, len(steps[0]))
    scale = _whole(steps) / parts if parts else 1.0
    return {kind: [(size, scale * part) for size, part in calls] for kind, calls in found.items()}


def _fused(records: Launch) -> dict[str, list[int]]:
    """What the framework made of its communications, by its own timeline; {} if they stayed."""
    happened = payloads(records, "profiles")
    return {} if happened == payloads(records) else happened


def together(
    calls: Mapping[str, Sequence[tuple[int, float]]], devices: int
) -> float:
    """Seconds that the calls of a step take, mean over its ``devices``."""
    return sum(share_of(kind, devices) * seconds
               for kind, found in calls.items() for _, seconds in found)


def _whole(steps: Sequence[Step]) -> float:
    """T_comm transfer of a step: mean over devices, median over steps."""
    return median([
        float(np.mean([union_length(own)
                       for own in transfer_intervals(step, matched_events(step))]))
        for step in steps
    ])


def _parts(step: Step) -> Iterator[tuple[str, float]]:
    """(key, seconds) of each communication: its part of the union, mean over its devices."""
    parts: dict[str, list[float]] = {}
    intervals = transfer_intervals(step, matched_events(step))
    for device, own in zip(step, intervals, strict=True):
        covered = -np.inf
        pairs = zip(in_flight(device), own, strict=True)
        for event, (start, end) in sorted(pairs, key=lambda pair: pair[1]):
            parts.setdefault(event.key, []).append(max(0.0, end - max(start, covered)))
            covered = max(covered, end)
    for key, each in parts.items():
        yield key, float(np.mean(each))


def handling_seconds(records: Launch) -> float | None:
    """Seconds of T_comm transfer outside the operations that the framework's own timeline shows.

    Queueing, negotiation between ranks, copies into and out of a fusion buffer, and waking up.
    None where no timeline tells of operations.
    """
    operations = [
        union_length((e.start_s, e.end_s) for device in step for e in in_flight(device))
        for step in steps_of(records, "profiles") if _fused(records)
    ]
    steps = steps_of(records, "traces")
    return max(0.0, _whole(steps) - median(operations)) if operations and steps else None


def scheduling_seconds(records: Launch) -> float | None:
    """Seconds of T_comm transfer in which a thread that carries it was ready and had no core.

    Of the processes that take part the one that waited longest counts: the others' progress hangs
    on it. Mean over devices, median over timed steps; None where the kernel does not tell.
    """
    steps = [step for step in steps_of(records, "traces") if all(one.queued for one in step)]
    return median([_scheduling(step) for step in steps]) if steps else None


def _scheduling(step: Step) -> float:
    intervals = transfer_intervals(step, matched_events(step))
    return float(np.mean([_longest(step, union(own)) for own in intervals]))


def _longest(step: Step, spans: Sequence[Interval]) -> float:
    edges = np.asarray(spans, float).reshape(-1, 2)
    whole = float(np.diff(edges, axis=1).sum())
    return min(whole, max(_queued(device, edges) for device in step))


def _queued(device: DeviceStep, edges: np.ndarray) -> float:
    times, seconds = np.asarray(device.queued, float).T
    return float(np.diff(np.interp(edges, times, seconds), axis=1).sum())
