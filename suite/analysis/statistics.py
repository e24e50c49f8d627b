"""Statistics over launches, the unit of replication. Intervals hold 95 % unless told otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from suite.analysis.quantiles import chi_square_median, student_t
from suite.contract.sign_test import sign_critical

LEVEL = 0.95
# What the other cases' spread counts for beside a pair's own, in degrees of freedom: at most this,
# and one for every two cases beside the pair. With more, a run of six unequally restless cases left
# the true winner out in 7 % of simulations (python -m tests.accuracy answer).
PRIOR_DEGREES = 4


class Interval(NamedTuple):
    """An estimate and its confidence interval; low and high are NaN if there is no interval."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval, relative to the estimate; NaN without an interval."""
        return (self.high - self.low) / 2 / self.estimate


class Spread(NamedTuple):
    """What a run's other cases say of how much a pair's log-ratio varies between blocks."""

    variance: float
    degrees: float


# Samples of launches are a few numbers, where Python's own arithmetic is much faster than an
# array's: a report of ten thousand cases makes a hundred thousand of these intervals.


def median(samples: Sequence[float] | np.ndarray) -> float:
    """Returns the median of finite values, as ``numpy.median`` does.

    For a few values it takes a tenth of NumPy's time, and a report calls it very often.
    """
    return median_of_sorted(
        np.sort(samples) if isinstance(samples, np.ndarray) else sorted(samples)
    )


def median_of_sorted(ordered: Sequence[float] | np.ndarray) -> float:
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
    ordered = sorted(map(float, samples))
    typical = median_of_sorted(ordered)
    if len(ordered) >= exact_from(level):
        skipped = sign_critical(len(ordered), level)
        return Interval(typical, ordered[skipped], ordered[-1 - skipped])
    return Interval(typical, *_student(_logs(ordered), level))


def _logs(samples: Iterable[float]) -> list[float]:
    return [math.log(one) for one in samples]


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL,
    spread: Spread | None = None,
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
        spread: What the run's other cases say of the variance, which steadies Student's t
            (``typical_spread``).
    """
    logs = [math.log(one) - math.log(other)
            for one, other in zip(numerators, denominators, strict=True)]
    walsh = sorted((one + other) / 2
                   for number, one in enumerate(logs) for other in logs[number:])
    estimate = math.exp(median_of_sorted(walsh))
    if len(logs) < exact_from(level):
        return Interval(estimate, *_student(logs, level, spread))
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
    ours, theirs = _logs(numerators), _logs(denominators)
    shifts = sorted(one - other for one in ours for other in theirs)
    estimate = math.exp(median_of_sorted(shifts))
    skipped = rank_sum_critical(len(ours), len(theirs), level)
    if skipped >= 0:
        return Interval(estimate, math.exp(shifts[skipped]), math.exp(shifts[-1 - skipped]))
    if min(len(ours), len(theirs)) < 2:
        return Interval(estimate, math.nan, math.nan)
    if len(set(ours)) == len(set(theirs)) == 1:  # a count that never varies, such as bytes
        return Interval(estimate, estimate, estimate)
    return Interval(estimate, *_welch(ours, theirs, level))


def _welch(ours: list[float], theirs: list[float], level: float) -> tuple[float, float]:
    """Interval of the ratio of geometric means, of unequal spreads (Welch 1947)."""
    squared = [_variance(each) / len(each) for each in (ours, theirs)]
    degrees = sum(squared) ** 2 / sum(
        one**2 / (len(each) - 1) for one, each in zip(squared, (ours, theirs), strict=True)
    )
    reach = math.sqrt(sum(squared)) * student_t(degrees, level)
    shift = _mean(ours) - _mean(theirs)
    return math.exp(shift - reach), math.exp(shift + reach)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Of at least two values, unbiased."""
    center = _mean(values)
    return math.fsum((one - center) ** 2 for one in values) / (len(values) - 1)


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


@lru_cache(maxsize=256)
def exact_from(level: float) -> int:
    """Returns the smallest number of samples at which sign and signed-rank tests reach ``level``.

    Their rarest outcome, all samples on one side, has probability 2 / 2**n.
    """
    return math.ceil(math.log2(2 / (1 - level)))


def typical_spread(seconds: np.ndarray) -> Spread | None:
    """How much the log-ratio of two of these cases varies between blocks, as a rule.

    Two or three launches say little of their own variance: Student's t with two degrees of freedom
    has to reach 17 deviations for 95 % over 15 comparisons. Variances of many cases say more
    together (Smyth 2004, "Linear models and empirical Bayes methods"). The typical one is the
    median over cases, after each case's and each block's mean is taken out, over the median that
    chance alone gives it.

    Args:
        seconds: (cases, blocks) one figure a launch.

    Returns:
        None with fewer than four cases or two blocks, which say little beyond the pair itself.
    """
    cases, blocks = seconds.shape
    degrees = min(PRIOR_DEGREES, (cases - 2) // 2)
    if degrees < 1 or blocks < 2:
        return None
    logs = np.log(seconds)
    rest = logs - logs.mean(1, keepdims=True)
    rest -= rest.mean(0)
    variances = (rest**2).sum(1) / ((blocks - 1) * (cases - 1) / cases)
    by_chance = chi_square_median(blocks - 1) / (blocks - 1)
    return Spread(2 * float(np.median(variances)) / by_chance, degrees)


def _student(
    logs: Sequence[float], level: float, spread: Spread | None = None
) -> tuple[float, float]:
    """Interval of the geometric mean; ``spread`` can widen a variance, never narrow it."""
    if len(logs) < 2:
        return math.nan, math.nan
    degrees = len(logs) - 1.0
    variance = own = _variance(logs)
    if spread:
        whole = degrees + spread.degrees
        steadied = (degrees * own + spread.degrees * spread.variance) / whole
        degrees, variance = whole, max(own, steadied)
    reach, center = math.sqrt(variance / len(logs)) * student_t(degrees, level), _mean(logs)
    return math.exp(center - reach), math.exp(center + reach)


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
