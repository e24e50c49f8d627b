"""Statistics over launches, which are the unit of replication."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES, LEVEL = 2000, 95.0


def bootstrap_median(samples: Sequence[float]) -> tuple[float, float, float]:
    """Median and its 95 % percentile-bootstrap interval (Efron 1979); one sample has no interval.

    Returns (median, low, high); low and high are NaN for fewer than two samples.
    """
    values = np.asarray(samples, float)
    if len(values) < 2:
        return float(np.median(values)), float("nan"), float("nan")
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(values, (RESAMPLES, len(values))), axis=1)
    tail = (100.0 - LEVEL) / 2
    low, high = np.percentile(medians, [tail, 100.0 - tail])
    return float(np.median(values)), float(low), float(high)


def coefficient_of_variation(samples: Sequence[float]) -> float:
    """Standard deviation over mean."""
    values = np.asarray(samples, float)
    return float(values.std() / values.mean())


def union_length(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals, in their unit; overlaps count once."""
    total, reach = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total
