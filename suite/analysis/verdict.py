"""Faster, slower or a tie: the one comparison of two rows that every claim is based on."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from suite.analysis.ledger import obstacle
from suite.analysis.quantiles import student_t
from suite.analysis.statistics import (
    LEVEL,
    Spread,
    ratio_interval,
    typical_spread,
)
from suite.contract.case import STRONG, WEAK
from suite.contract.row import Row

NOT_COMPARABLE = "not comparable"
# More pairs than this are promised to nobody: two cases that need them are alike.
PAIRS_AT_MOST = 200
# A few comparisons share 5 % as if they were so many: leaders are looked at after every block.
COMPARISONS_AT_LEAST = 4


@dataclass(frozen=True)
class Comparison:
    """How two rows compare in step time; where batches grew, in the time of the base's batch.

    Attributes:
        ratio: How many times as fast the first row is as the second; above 1 it is faster.
        low: Lower end of the ratio's interval; NaN without an interval.
        high: Upper end of the ratio's interval; NaN without an interval.
        verdict: faster, slower, tie, ``not comparable``, or empty if there is no interval.
        reason: Why there is no verdict.
        pairs: Number of blocks in which both rows ran.
        level: Level of the interval.
        prior_degrees: Degrees of freedom that the run's other cases add to the pairs' own.
    """

    ratio: float
    low: float
    high: float
    verdict: str
    reason: str = ""
    pairs: int = 0
    level: float = LEVEL
    prior_degrees: float = 0.0

    @property
    def open(self) -> bool:
        """Whether it is not known which of the two is faster, and could be."""
        return self.verdict in ("tie", "") and self.reason != "no block holds both"

    def pairs_to_tell(self) -> int | None:
        """Pairs in all, estimated, of which the interval would leave out 1.

        None where it would take more than ``PAIRS_AT_MOST``. An interval narrows with the root of
        the number of pairs, and with Student's t.
        """
        distance = abs(math.log(self.ratio)) if self.ratio > 0 else 0.0
        if math.isnan(self.low):
            return self.pairs + 1
        reach = (math.log(self.high) - math.log(self.low)) / 2
        deviation = reach * math.sqrt(self.pairs) / self._quantile(self.pairs)
        counts = range(self.pairs + 1, PAIRS_AT_MOST + 1)
        first = bisect_left(counts, True, key=lambda count: self._quantile(count) * deviation
                            / math.sqrt(count) < distance)
        return counts[first] if first < len(counts) else None

    def _quantile(self, pairs: int) -> float:
        return student_t(pairs - 1 + self.prior_degrees, self.level)


def compare_cases(
    a: Row, b: Row, level: float = LEVEL, spread: Spread | None = None
) -> Comparison:
    """Compares two rows of one run by the blocks in which both ran.

    A difference is claimed if the interval of the ratio excludes 1. Rows are not compared if their
    fairness ledgers differ in an entry that must be equal. Where batches grew with the devices
    from the same base, steps are compared by what they take for the base's batch. In a run that
    chooses how to split, the number of micro-batches is a part of the choice.

    Args:
        a: The first row.
        b: The second row.
        level: Level of the interval.
    """
    grown = _grown_alike(a, b)
    free = ["global_batch"] * grown + ["accumulate"] * bool(a.choice and b.choice)
    against = obstacle(a.ledger, b.ledger, free)
    if against:
        return Comparison(math.nan, math.nan, math.nan, NOT_COMPARABLE, against)
    pairs = paired(a.launch_step_s, b.launch_step_s)
    if not pairs:
        return Comparison(math.nan, math.nan, math.nan, "", "no block holds both")
    ours, theirs = zip(*pairs, strict=True)
    if grown:
        theirs = tuple(seconds * a.work / b.work for seconds in theirs)
    ratio = ratio_interval(theirs, ours, level, spread)
    verdict = verdict_of(ratio.low, ratio.high)
    reason = "" if verdict else "one launch has no interval"
    prior = spread.degrees if spread else 0.0
    return Comparison(*ratio, verdict, reason, len(pairs), level=level, prior_degrees=prior)


def _grown_alike(a: Row, b: Row) -> bool:
    """Whether the batches of both grew with the devices, or not yet, from the same base."""
    return WEAK in (a.scaling, b.scaling) and STRONG not in (a.scaling, b.scaling) and (
        a.base_batch == b.base_batch)


def verdict_of(low: float, high: float) -> str:
    """Returns faster, slower or tie; empty without an interval.

    Args:
        low: Lower end of how many times as fast the first is; NaN without an interval.
        high: Upper end of the same.
    """
    if math.isnan(low):
        return ""
    if low > 1:
        return "faster"
    return "slower" if high < 1 else "tie"


def paired(
    a: Sequence[float | None], b: Sequence[float | None]
) -> list[tuple[float, float]]:
    """Returns the values of the blocks that have both.

    The series may differ in length, because a case that is precise enough stops early.

    Args:
        a: Values of one case, one for each block; None where there is none.
        b: Values of the other case.
    """
    return [(x, y) for x, y in zip(a, b, strict=False) if x is not None and y is not None]


def may_be_fastest(best: Row, others: Sequence[Row]) -> list[tuple[Row, Comparison]]:
    """Compares the row with the lowest step time with every other row.

    These are multiple comparisons with the best (Hsu 1984) in Bonferroni's form: the level of each
    is 1 - 5 % / (rows - 1), with up to four others 1 - 5 % / 4. The truly fastest case is left out
    only if one of its own rows - 1 comparisons errs. So the best and its ties contain it with 95 %
    confidence, however the best was picked. With fewer launches than an exact interval needs, the
    variance of each pair is steadied by what all cases vary by.

    Args:
        best: The row with the lowest step time.
        others: All other rows that finished.

    Returns:
        Each other row, and how the best compares with it.
    """
    level = 1 - (1 - LEVEL) / max(COMPARISONS_AT_LEAST, len(others))
    spread = _spread([best, *others])
    return [(row, compare_cases(best, row, level, spread)) for row in others]


def _spread(rows: Sequence[Row]) -> Spread | None:
    """Returns the typical spread over the blocks that hold all of these cases."""
    whole = [block for block in zip(*(row.launch_step_s for row in rows), strict=False)
             if None not in block]
    return typical_spread(np.asarray(whole, float).T) if whole else None
