"""Statistics over launches, which are the unit of replication. Intervals are 95 % unless told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats

LEVEL = 0.95
# What the other cases' spread counts for beside a pair's own, in degrees of freedom: at most this,
# and one for every two cases beside the pair. With more, a run of six unequally restless cases left
# the true winner out in 7 % of simulations (python -m tests.accuracy answer).
PRIOR_DEGREES = 4


class Interval(NamedTuple):
    """An estimate and its confidence interval; low and high are NaN where there is none."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Relative to the estimate; NaN without an interval."""
        return (self.high - self.low) / 2 / self.estimate


class Spread(NamedTuple):
    """What a run's other cases say of how much a pair's log-ratio varies between blocks."""

    variance: float
    degrees: float


def median(samples: Sequence[float] | np.ndarray) -> float:
    """As ``numpy.median`` gives it of finite values, in a tenth of the time for a few."""
    return middle(np.sort(samples))


def middle(ordered: np.ndarray) -> float:
    """The median of a sorted sample."""
    count = len(ordered)
    return float((ordered[(count - 1) // 2] + ordered[count // 2]) / 2)


def median_interval(samples: Sequence[float], level: float = LEVEL) -> Interval:
    """Median of positive samples, in their unit; one sample has no interval.

    Order statistics of the sample, exact for every continuous distribution (Conover 1999, 3.2),
    where they can hold the level: from 6 samples on for 95 %. Below that Student's t on
    logarithms, which assumes log-normal samples.
    """
    values = np.asarray(samples, float)
    typical = median(values)
    if len(values) >= exact_from(level):
        found = stats.quantile_test(values, q=typical, p=0.5)
        bounds = found.confidence_interval(confidence_level=level)
        return Interval(typical, float(bounds.low), float(bounds.high))
    return Interval(typical, *_student(np.log(values), level))


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL,
    spread: Spread | None = None,
) -> Interval:
    """Typical ratio of pairs; one pair has no interval.

    Pairs were taken in the same block in random order, so without a difference the logarithm of
    their ratio is symmetric about zero, whatever the noise. The signed-rank test's interval around
    the Hodges-Lehmann estimate (Hollander, Wolfe & Chicken 2014, 3.2 and 3.3) is exact then, where
    there are pairs enough for the level: 6 for 95 %. Below that Student's t on the logarithms, with
    a variance that ``spread`` steadies where the run has other cases (see ``typical_spread``).
    """
    logs = np.log(np.asarray(numerators, float)) - np.log(np.asarray(denominators, float))
    first, second = np.triu_indices(len(logs))
    walsh = np.sort((logs[first] + logs[second]) / 2)
    estimate = math.exp(middle(walsh))
    if len(logs) < exact_from(level):
        return Interval(estimate, *_student(logs, level, spread))
    skipped = signed_rank_critical(len(logs), level)
    return Interval(estimate, math.exp(walsh[skipped]), math.exp(walsh[-1 - skipped]))


def unpaired_ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], level: float = LEVEL
) -> Interval:
    """Typical ratio of two independent samples; one sample on a side has no interval.

    Hodges-Lehmann estimate of the shift of logarithms. Its interval inverts the rank-sum test
    (Mann & Whitney 1947; Hollander, Wolfe & Chicken 2014, 4.2 and 4.3), exact for samples that
    differ in scale alone, where they are large enough for the level: 4 and 4 for 95 %. Below that
    Welch's t on the logarithms, which assumes log-normal samples and no equal spread.
    """
    ours, theirs = np.log(np.asarray(numerators, float)), np.log(np.asarray(denominators, float))
    shifts = np.sort(np.subtract.outer(ours, theirs).ravel())
    estimate = math.exp(middle(shifts))
    skipped = rank_sum_critical(len(ours), len(theirs), level)
    if skipped >= 0:
        return Interval(estimate, math.exp(shifts[skipped]), math.exp(shifts[-1 - skipped]))
    if min(len(ours), len(theirs)) < 2:
        return Interval(estimate, math.nan, math.nan)
    if ours.std() == theirs.std() == 0:  # a count that never varies, such as bytes
        return Interval(estimate, estimate, estimate)
    found = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    return Interval(estimate, math.exp(found.low), math.exp(found.high))


@lru_cache(maxsize=256)
def rank_sum_critical(first: int, second: int, level: float) -> int:
    """Largest c with P(U <= c) <= (1 - level) / 2, U of two samples of these sizes; -1 if none.

    The c smallest and c largest pairwise differences lie outside the interval. The counts are the
    coefficients of a Gaussian binomial: prod (1 - q**(second + i)) / (1 - q**i), i = 1..first.
    """
    ways = np.zeros(first * second + 1)  # ways[u]: orders of the samples whose U is u
    ways[0] = 1
    for i in range(1, first + 1):
        for u in range(len(ways) - 1, second + i - 1, -1):
            ways[u] -= ways[u - second - i]
        for u in range(i, len(ways)):
            ways[u] += ways[u - i]
    below = np.cumsum(ways) / math.comb(first + second, first)
    return int(np.searchsorted(below, (1 - level) / 2, side="right")) - 1


def exact_from(level: float) -> int:
    """Smallest number of samples at which sign and signed-rank tests can reach ``level``.

    Their rarest outcome, all on one side, has probability 2 / 2**n.
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
    by_chance = 2 * special.gammaincinv((blocks - 1) / 2, 0.5) / (blocks - 1)
    return Spread(2 * float(np.median(variances)) / by_chance, degrees)


def _student(
    logs: np.ndarray, level: float, spread: Spread | None = None
) -> tuple[float, float]:
    """Interval of the geometric mean; ``spread`` can widen a variance, never narrow it."""
    if len(logs) < 2:
        return math.nan, math.nan
    degrees = len(logs) - 1.0
    variance = own = float(logs.var(ddof=1))
    if spread:
        whole = degrees + spread.degrees
        steadied = (degrees * own + spread.degrees * spread.variance) / whole
        degrees, variance = whole, max(own, steadied)
    reach = math.sqrt(variance / len(logs)) * quantile(degrees, level)
    return math.exp(logs.mean() - reach), math.exp(logs.mean() + reach)


@lru_cache(maxsize=256)
def quantile(degrees: float, level: float) -> float:
    """Student's t that holds ``level`` between its two signs."""
    # The special function behind stats.t.ppf: a report of many rows spends its time here.
    return float(special.stdtrit(degrees, (1 + level) / 2))


@lru_cache(maxsize=256)
def signed_rank_critical(count: int, level: float) -> int:
    """Largest c with P(W <= c) <= (1 - level) / 2, W the signed-rank statistic of ``count`` pairs.

    The c smallest and c largest Walsh averages lie outside the interval. SciPy's test gives
    p-values only.
    """
    ways = np.ones(1)  # ways[w]: sets of ranks whose sum is w
    for rank in range(1, count + 1):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    below = np.cumsum(ways) / 2**count
    return int(np.searchsorted(below, (1 - level) / 2, side="right")) - 1


def coefficient_of_variation(samples: Sequence[float] | np.ndarray) -> float:
    """Standard deviation over mean."""
    values = np.asarray(samples, float)
    return float(values.std() / values.mean())


def union(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Disjoint intervals in order that cover the same points; overlaps are joined."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def union_length(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals, in their unit; overlaps count once."""
    return sum(end - start for start, end in union(intervals))
