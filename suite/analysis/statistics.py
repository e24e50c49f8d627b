"""Statistics over launches, the unit of replication. Intervals hold 95 % unless told otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and its confidence interval; low and high are NaN if there is no interval."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, relative to the estimate; NaN without an interval."""
        return (self.high - self.low) / 2 / self.estimate


def median(samples: Sequence[float] | np.ndarray) -> float:
    """Returns the median of finite values, as ``numpy.median`` does.

    For a few values it takes a tenth of NumPy's time, and a report calls it very often.
    """
    return median_of_sorted(np.sort(samples))


def median_of_sorted(ordered: np.ndarray) -> float:
    """Returns the median of a sorted sample."""
    count = len(ordered)
    return float((ordered[(count - 1) // 2] + ordered[count // 2]) / 2)


def median_interval(samples: Sequence[float], level: float = LEVEL) -> Interval:
    """Returns the median of positive samples with its interval; one sample has no interval.

    Where there are enough samples (6 for 95 %) the interval is made of order statistics, which are
    exact for every continuous distribution (Conover 1999, 3.2). With fewer it is Student's t on
    logarithms, which assumes log-normal samples.

    Args:
        samples: Positive values.
        level: Level of the interval.

    Returns:
        Median and bounds, in the unit of the samples.
    """
    values = np.asarray(samples, float)
    typical = median(values)
    if len(values) >= exact_from(level):
        test = stats.quantile_test(values, q=typical, p=0.5)
        bounds = test.confidence_interval(confidence_level=level)
        return Interval(typical, float(bounds.low), float(bounds.high))
    return Interval(typical, *_student(np.log(values), level))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL
) -> Interval:
    """Returns the typical ratio of pairs with its interval; one pair has no interval.

    The two of a pair ran in the same block in random order. If nothing differs, the logarithm of
    their ratio is therefore symmetric about zero, whatever the noise, and the signed-rank test's
    interval around the Hodges-Lehmann estimate (Hollander, Wolfe & Chicken 2014, 3.2 and 3.3) is
    exact. It needs enough pairs for the level, 6 for 95 %. With fewer it is Student's t on the
    logarithms.

    Args:
        numerators: Positive values, one for each pair.
        denominators: Positive values, one for each pair.
        level: Level of the interval.
    """
    logs = np.log(np.asarray(numerators, float)) - np.log(np.asarray(denominators, float))
    first, second = np.triu_indices(len(logs))
    walsh = np.sort((logs[first] + logs[second]) / 2)
    estimate = math.exp(median_of_sorted(walsh))
    if len(logs) < exact_from(level):
        return Interval(estimate, *_student(logs, level))
    skipped = signed_rank_critical(len(logs), level)
    return Interval(estimate, math.exp(walsh[skipped]), math.exp(walsh[-1 - skipped]))


def unpaired_ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL
) -> Interval:
    """Returns the typical ratio of two independent samples; one value on a side has no interval.

    The estimate is Hodges and Lehmann's, of the shift between the logarithms. Its interval inverts
    the rank-sum test (Mann & Whitney 1947; Hollander, Wolfe & Chicken 2014, 4.2 and 4.3), which is
    exact for samples that differ in scale alone. It needs enough samples for the level, 4 and 4
    for 95 %. With fewer it is Welch's t on the logarithms, which assumes log-normal samples but no
    equal spread.

    Args:
        numerators: Positive values.
        denominators: Positive values.
        level: Level of the interval.
    """
    ours, theirs = np.log(np.asarray(numerators, float)), np.log(np.asarray(denominators, float))
    shifts = np.sort(np.subtract.outer(ours, theirs).ravel())
    estimate = math.exp(median_of_sorted(shifts))
    skipped = rank_sum_critical(len(ours), len(theirs), level)
    if skipped >= 0:
        return Interval(estimate, math.exp(shifts[skipped]), math.exp(shifts[-1 - skipped]))
    if min(len(ours), len(theirs)) < 2:
        return Interval(estimate, math.nan, math.nan)
    if ours.std() == theirs.std() == 0:  # counts, such as bytes, never vary
        return Interval(estimate, estimate, estimate)
    shift = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    return Interval(estimate, math.exp(shift.low), math.exp(shift.high))


@lru_cache(maxsize=256)
def rank_sum_critical(first: int, second: int, level: float) -> int:
    """Returns the largest c with P(U <= c) <= (1 - level) / 2 for the rank-sum statistic U.

    The c smallest and c largest pairwise differences lie outside the interval. The counts are the
    coefficients of a Gaussian binomial: prod (1 - q**(second + i)) / (1 - q**i), i = 1..first.

    Args:
        first: Size of the first sample.
        second: Size of the second sample.
        level: Level of the interval.

    Returns:
        c, or -1 if the samples are too small for the level.
    """
    ways = np.zeros(first * second + 1)  # ways[u] counts the orders of the samples with U = u
    ways[0] = 1
    for i in range(1, first + 1):
        for u in range(len(ways) - 1, second + i - 1, -1):
            ways[u] -= ways[u - second - i]
        for u in range(i, len(ways)):
            ways[u] += ways[u - i]
    below = np.cumsum(ways) / math.comb(first + second, first)
    return int(np.searchsorted(below, (1 - level) / 2, side="right")) - 1


def exact_from(level: float) -> int:
    """Returns the smallest number of samples at which sign and signed-rank tests reach ``level``.

    Their rarest outcome, all samples on one side, has probability 2 / 2**n.
    """
    return math.ceil(math.log2(2 / (1 - level)))


def _student(logs: np.ndarray, level: float) -> tuple[float, float]:
    """Returns Student's interval of the geometric mean; NaN with fewer than two samples."""
    if len(logs) < 2:
        return math.nan, math.nan
    # This is the function behind stats.t.ppf, called directly because a report of many rows spends
    # its time here.
    quantile = special.stdtrit(len(logs) - 1, (1 + level) / 2)
    reach = float(logs.std(ddof=1) / math.sqrt(len(logs)) * quantile)
    return math.exp(logs.mean() - reach), math.exp(logs.mean() + reach)


@lru_cache(maxsize=256)
def signed_rank_critical(count: int, level: float) -> int:
    """Returns the largest c with P(W <= c) <= (1 - level) / 2 for the signed-rank statistic W.

    The c smallest and c largest Walsh averages lie outside the interval. SciPy's test gives
    p-values only.

    Args:
        count: Number of pairs.
        level: Level of the interval.
    """
    ways = np.ones(1)  # ways[w] counts the sets of ranks whose sum is w
    for rank in range(1, count + 1):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    below = np.cumsum(ways) / 2**count
    return int(np.searchsorted(below, (1 - level) / 2, side="right")) - 1


def coefficient_of_variation(samples: Sequence[float] | np.ndarray) -> float:
    """Returns standard deviation over mean."""
    values = np.asarray(samples, float)
    return float(values.std() / values.mean())


def union(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns disjoint intervals, in order, that cover the same points as the given ones."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def union_length(intervals: Iterable[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals, in their unit; overlaps count once."""
    return sum(end - start for start, end in union(intervals))
