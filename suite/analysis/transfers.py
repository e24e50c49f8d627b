"""How long each communication of a step took, and how much of it a thread waited for a core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from suite.analysis.comm_model import share_of
from suite.analysis.communication import (
    group_kind,
    in_flight,
    matched_events,
    payloads,
    transfer_intervals,
)
from suite.analysis.handling import handling
from suite.analysis.statistics import median
from suite.analysis.steps import Interval, Step, steps_of
from suite.contract.records import Launch
from suite.contract.spans import union, union_length

# Kind of communication -> (payload bytes, seconds) of each one in a step.
Calls = dict[str, list[tuple[int, float]]]


def transfers(records: Launch) -> Calls:
    """Returns payload and time of each communication of a step: medians over timed steps.

    Communications that transfer at the same time share the time: each gets what it adds to the
    union, so that the seconds add up to T_comm transfer. Where the framework fuses what it is
    asked for, these are the communications that happened, and each has an equal share of the time.

    Args:
        records: The ranks' records.
    """
    asked = _asked(records)
    fused = _fused(records)
    if not asked or not fused:
        return asked
    devices = len(steps_of(records, "traces")[0])
    total = total_seconds(asked, devices)
    shares = sum(share_of(kind, devices) * len(sizes) for kind, sizes in fused.items())
    return {kind: [(size, total / shares) for size in sizes] for kind, sizes in fused.items()}


def _asked(records: Launch) -> Calls:
    """Returns payload and time of each communication that was asked of the framework.

    The medians of parts do not add up to the median of the whole, so they are scaled to it.
    """
    steps = steps_of(records, "traces")
    if not steps:
        return {}
    seconds: dict[str, list[float]] = {}
    for step in steps:
        for key, part in _parts(step):
            seconds.setdefault(key, []).append(part)
    by_kind: Calls = {}
    for key, event in matched_events(steps[0]).items():
        if event.payload_bytes:
            kind = group_kind(event, steps[0])
            by_kind.setdefault(kind, []).append((event.payload_bytes, median(seconds[key])))
    parts = total_seconds(by_kind, len(steps[0]))
    scale = _whole(steps) / parts if parts else 1.0
    return {kind: [(size, scale * part) for size, part in calls]
            for kind, calls in by_kind.items()}


def _fused(records: Launch) -> dict[str, list[int]]:
    """Returns what the framework made of its communications, by its own timeline.

    It is empty if the framework changed nothing.
    """
    happened = payloads(records, "profiles")
    return {} if happened == payloads(records) else happened


def total_seconds(
    calls: Mapping[str, Sequence[tuple[int, float]]], devices: int
) -> float:
    """Returns the seconds that all calls of a step take, mean over its devices.

    Args:
        calls: Kind of communication to (payload bytes, seconds) of each.
        devices: Number of devices of the step.
    """
    return sum(share_of(kind, devices) * seconds
               for kind, of_kind in calls.items() for _, seconds in of_kind)


def _whole(steps: Sequence[Step]) -> float:
    """Returns T_comm transfer of a step in seconds: mean over devices, median over steps."""
    return median([
        float(np.mean([union_length(own)
                       for own in transfer_intervals(step, matched_events(step))]))
        for step in steps
    ])


def _parts(step: Step) -> Iterator[tuple[str, float]]:
    """Yields each communication's key and its part of the union in seconds, mean over devices."""
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


def handling_columns(records: Launch) -> dict[str, float]:
    """Computes how much of T_comm transfer goes into what a library does beside sending.

    Such time goes into queueing, negotiation between ranks, copies into and out of a fusion
    buffer, and waking up.

    Args:
        records: The ranks' records.

    Returns:
        Columns in seconds; empty if neither a timeline nor a profiler tells of it. Records of
        early releases have only the operations of fused gradients, and give the whole of the
        handling alone.
    """
    steps = steps_of(records, "traces")
    parts = handling(records)
    if steps and parts:
        whole = _whole(steps)
        return {"t_comm_handling_s": whole * parts.whole,
                "t_comm_negotiation_s": whole * parts.negotiation,
                "t_comm_copy_s": whole * parts.copies}
    operations = [
        union_length((e.start_s, e.end_s) for device in step for e in in_flight(device))
        for step in steps_of(records, "profiles") if _fused(records)
    ]
    if operations and steps:
        return {"t_comm_handling_s": max(0.0, _whole(steps) - median(operations))}
    copies = [median([trace.copies_s for trace in record.profiles])
              for record in records if record.profiles]
    return {"t_comm_copy_s": float(np.mean(copies))} if steps and any(copies) else {}


def scheduling_seconds(records: Launch) -> float | None:
    """Returns the part of T_comm transfer in which a thread that carries it had no core.

    In each transfer the process that waited longest counts, because the progress of the others
    depends on it. Transfers that overlap are one. Where processes wait in turns within one
    transfer, they wait longer together, so this is a lower bound.

    Devices of one process share a pool with a thread for each of them. There a communication has
    no thread while all of them compute, which the profile of the traced steps shows: as a share,
    which is applied to the timed steps.

    Args:
        records: The ranks' records.

    Returns:
        Seconds: mean over devices, median over steps; None if neither kernel nor profile tells.
    """
    steps = _queued_steps(records)
    if steps:
        return median([_scheduling(step) for step in steps])
    pooled = [_pooled(step) for step in steps_of(records, "profiles")
              if len(records) == 1 < len(step) and all(len(device.clock) for device in step)]
    shares = [_scheduling(step) / whole for step in pooled if (whole := _whole([step]))]
    return median(shares) * _whole(steps_of(records, "traces")) if shares else None


def turns_seconds(records: Launch) -> float | None:
    """Returns how much longer threads may have been without a core than ``scheduling_seconds``.

    Where processes wait in turns within a transfer, it is as much longer as the others waited than
    the one that waited longest: at most, because they may have waited at the same time.

    Args:
        records: The ranks' records.

    Returns:
        Seconds: mean over devices, median over timed steps; None if the kernel does not tell.
    """
    steps = _queued_steps(records)
    together = [_scheduling(step, np.sum) - _scheduling(step) for step in steps]
    return median(together) if together else None


def _queued_steps(records: Launch) -> list[Step]:
    return [step for step in steps_of(records, "traces") if all(d.queued for d in step)]


def _pooled(step: Step) -> Step:
    """Returns the step with a clock that runs while as many threads compute as there are devices.

    Compute clocks add up what threads do side by side, so their rates tell how many do.
    """
    clocks = [np.asarray(device.clock, float).T for device in step]
    times = np.unique(np.concatenate([at for at, _ in clocks]))
    lengths = np.diff(times)
    busy = sum(np.diff(np.interp(times, at, seconds)) for at, seconds in clocks)
    full = np.cumsum(np.where(busy > (len(step) - 0.5) * lengths, lengths, 0.0))
    queued = list(zip(times.tolist(), [0.0, *full.tolist()], strict=True))
    return [replace(device, queued=queued) for device in step]


def _scheduling(step: Step, over: Callable[..., np.ndarray] = np.max) -> float:
    """Returns the seconds in which transfers waited for a core, mean over devices.

    Args:
        step: All devices of the step.
        over: Makes one figure of what the processes waited in a transfer.
    """
    intervals = transfer_intervals(step, matched_events(step))
    clocks = [np.asarray(device.queued, float).T for device in step]
    return float(np.mean([_waited(clocks, union(own), over) for own in intervals]))


def _waited(
    clocks: Sequence[np.ndarray], spans: Sequence[Interval], over: Callable[..., np.ndarray]
) -> float:
    """Seconds of ``spans`` in which processes waited for a core.

    Args:
        clocks: (2, points) of each process: times, and the seconds that it has waited until then.
        spans: Intervals that do not overlap.
        over: Makes one figure of what the processes waited in an interval.
    """
    edges = np.asarray(spans, float).reshape(-1, 2)
    waited = over([np.diff(np.interp(edges, *clock), axis=1).ravel() for clock in clocks], axis=0)
    return float(np.minimum(np.diff(edges, axis=1).ravel(), waited).sum())
