"""Computes busy time, load balance and idle time from the compute clocks of a launch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from suite.analysis.steps import PASSES, Interval, Step, steps_of
from suite.contract.records import Launch


def clocked_steps(records: Launch) -> list[Step]:
    """Returns the steps of the first pass in which every device has a compute clock.

    They are those of the timed pass if it has clocks, otherwise those of the traced pass.
    """
    for name in PASSES:
        steps = steps_of(records, name)
        if steps and all(device.clock for step in steps for device in step):
            return steps
    return []


def occupied_seconds(clock: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """Turns a compute clock into the time in which at least one thread of the device computed.

    Args:
        clock: Points (time, compute seconds so far); threads that compute at once add up in it.

    Returns:
        The times of the points, and the occupied seconds until each of them.
    """
    times, busy = np.asarray(clock, float).T
    computing = np.minimum(np.diff(busy), np.diff(times))
    return times, np.concatenate([[0.0], np.cumsum(computing)])


def load_balance(records: Launch) -> dict[str, float]:
    """Computes L = max(T_i) / avg(T_i) of a launch, and the columns that belong to it.

    T_i is the median over the steps of what device i computes. The per-step form, which divides
    the sum of the maxima by the sum of the averages, shows imbalance that moves from device to
    device.

    Args:
        records: The ranks' records.

    Returns:
        Columns of the row; empty if no pass has a clock for every device.
    """
    computed = device_seconds(records)
    if not computed.size:
        return {}
    devices = np.median(computed, axis=0)
    return {
        "compute_max_s": float(devices.max()),
        "compute_avg_s": float(devices.mean()),
        "load_balance": float(devices.max() / devices.mean()),
        "load_balance_step": float(computed.max(axis=1).sum() / computed.mean(axis=1).sum()),
        "busy_avg_s": float(np.median(compute_seconds(records), axis=0).mean()),
    }


def device_seconds(records: Launch) -> np.ndarray:
    """Returns T_i in seconds, (steps, devices): busy time without the framework's dispatch.

    Dispatch keeps a device busy as long for a small layer as for a large one, and with a single
    device as with many. It is none of the work that the split divides. Where it was not measured,
    as in a process whose clock counts operations alone, T_i is the busy time.
    """
    busy, dispatch = compute_seconds(records), dispatch_seconds(records)
    return np.asarray(np.maximum(0.0, busy - dispatch)) if dispatch.size else busy


def dispatch_seconds(records: Launch) -> np.ndarray:
    """Returns how long each device is busy outside the framework's operations, (devices,).

    It is the median busy time less the median time of the operations, as a profiler saw them:
    seconds, empty if either was not measured.
    """
    operations = [
        np.median([trace.operations_s for trace in record.profiles])
        for record in records if record.profiles
    ]
    busy = compute_seconds(records)
    if not busy.size or len(operations) < len(records) or not all(operations):
        return np.empty(0)
    return np.asarray(np.maximum(0.0, np.median(busy, axis=0) - operations))


def compute_seconds(records: Launch) -> np.ndarray:
    """Returns how far each compute clock advances in a step: seconds, (steps, devices).

    It is empty if no pass has a clock for every device.
    """
    return np.asarray(
        [[device.clock[-1][1] - device.clock[0][1] for device in step]
         for step in clocked_steps(records)]
    )


def clocked_step_seconds(records: Launch) -> float | None:
    """Returns the length of the step in which ``compute_seconds`` is measured, in seconds.

    It is a mean over devices and a median over steps; None if no pass has a clock for every
    device.
    """
    lengths = [
        float(np.mean([device.clock[-1][0] - device.clock[0][0] for device in step]))
        for step in clocked_steps(records)
    ]
    return float(np.median(lengths)) if lengths else None


def idle_share(records: Launch) -> float | None:
    """Returns the share of a step in which a device computes nothing: a pipeline's bubble.

    It is a mean over devices and a median over steps; None if no pass has a clock for every
    device.
    """
    shares = [float(np.mean([_idle(device.clock) for device in step]))
              for step in clocked_steps(records)]
    return float(np.median(shares)) if shares else None


def _idle(clock: Sequence[Interval]) -> float:
    times, computed = occupied_seconds(clock)
    return float(1.0 - computed[-1] / (times[-1] - times[0]))
