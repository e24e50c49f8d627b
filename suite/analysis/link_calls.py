"""What the calls of a link sweep took: a sample is a row of ``link.csv``, of one call and rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Sample = dict[str, Any]
CLOCK_RESOLUTION_S = 1e-7  # a call inside one process may begin and end at the same reading


def hosts_of(sample: Sample) -> int:
    """On how many hosts the devices were; 1 in files of older releases."""
    return int(sample.get("hosts") or 1)


def loops_of(sample: Sample) -> str:
    """How the event loops were scheduled; empty in files of older releases."""
    return str(sample.get("event_loops") or "")


def load_of(sample: Sample) -> float:
    """Returns the seconds that a rank computed before a call.

    It is 0 for samples of early releases, which swept idle links only.
    """
    return float(sample.get("load_s") or 0.0)


def call_seconds(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Returns payload sizes and transfer times of one link.

    Of several calls of a size in one repetition the fastest counts. Beside computing the median
    counts, because what disturbs a call is what a step meets.

    Args:
        samples: Rows of ``link.csv`` that differ in call and rank alone.

    Returns:
        (sizes,) payload bytes and (repetitions, sizes) seconds.
    """
    lengths = _lengths(samples)
    typical = np.median if load_of(samples[0]) else min
    repetitions = sorted({repetition for repetition, _ in lengths})
    sizes = sorted({size for _, size in lengths})
    seconds = [[typical(lengths[repetition, size]) for size in sizes]
               for repetition in repetitions]
    return np.asarray(sizes, float), np.maximum(seconds, CLOCK_RESOLUTION_S)


def _lengths(samples: Sequence[Sample]) -> dict[tuple[int, int], list[float]]:
    """Returns the seconds of each call by repetition and payload bytes."""
    calls: dict[tuple[int, int, int], tuple[float, float]] = {}
    for sample in samples:
        key = sample["repetition"], sample["bytes"], sample.get("call", 0)
        start, end = calls.get(key, (-np.inf, -np.inf))
        calls[key] = max(start, sample["start_s"]), max(end, sample["end_s"])
    lengths: dict[tuple[int, int], list[float]] = {}
    for (repetition, size, _), (start, end) in calls.items():
        lengths.setdefault((repetition, size), []).append(end - start)
    return lengths


def usual_over_fastest(samples: Sequence[Sample]) -> float | None:
    """Returns how many seconds longer than its fastest call the median call of a size takes.

    The fastest call meets threads that are awake and cores that are free. What a usual call waits
    for them hardly depends on its bytes, so it is a median over sizes.

    Args:
        samples: Rows of ``link.csv`` that differ in call and rank alone.

    Returns:
        Seconds; None beside computing, where no call is an idle one.
    """
    if load_of(samples[0]):
        return None
    by_size: dict[int, list[float]] = {}
    for (_, size), lengths in _lengths(samples).items():
        by_size.setdefault(size, []).extend(lengths)
    return float(np.median([np.median(calls) - min(calls) for calls in by_size.values()]))
