"""Faster, slower or a tie: the one comparison of two rows, used for every claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from suite.analysis.ledger import differences, obstacle
from suite.analysis.statistics import LEVEL, ratio_interval
from suite.contract.row import Row

NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is how many times as fast the first is as the second: above 1, it is faster.

    ``verdict`` is faster, slower, tie, ``not comparable``, or empty where no interval exists;
    ``reason`` says why not. ``pairs`` counts the blocks both ran in. ``differences`` names what
    differs by nature in the fairness ledger.
    """

    ratio: float
    low: float
    high: float
    verdict: str
    reason: str = ""
    pairs: int = 0
    differences: tuple[str, ...] = ()


def compare_cases(a: Row, b: Row, level: float = LEVEL) -> Comparison:
    """Compares two rows of one run by the blocks that hold both (``launch_step_s``, a block each).

    A difference is claimed where the interval of the ratio excludes 1. Rows whose fairness ledgers
    differ in what must be equal are refused.
    """
    against = obstacle(a.ledger, b.ledger)
    if against:
        return Comparison(math.nan, math.nan, math.nan, NOT_COMPARABLE, against)
    pairs = paired(a.launch_step_s, b.launch_step_s)
    if not pairs:
        return Comparison(math.nan, math.nan, math.nan, "", "no block holds both")
    ours, theirs = zip(*pairs, strict=True)
    found = ratio_interval(theirs, ours, level)
    verdict = verdict_of(found.low, found.high)
    reason = "" if verdict else "one launch has no interval"
    different = tuple(differences(a.ledger, b.ledger))
    return Comparison(*found, verdict, reason, len(pairs), different)


def verdict_of(low: float, high: float) -> str:
    """``low`` and ``high`` of how many times as fast the first is; empty without an interval."""
    if math.isnan(low):
        return ""
    if low > 1:
        return "faster"
    return "slower" if high < 1 else "tie"


def paired(
    a: Sequence[float | None], b: Sequence[float | None]
) -> list[tuple[float, float]]:
    """Values of the blocks that hold both; a case that is precise enough stops early."""
    return [(x, y) for x, y in zip(a, b, strict=False) if x is not None and y is not None]


def may_be_fastest(best: Row, others: Sequence[Row]) -> list[tuple[Row, Comparison]]:
    """Each other row against the one with the lowest step time, at a level for all together.

    Multiple comparisons with the best (Hsu 1984), in Bonferroni's form: the level of each is
    1 - 5 % / (rows - 1). The truly fastest case is left out only if one of its own rows - 1
    comparisons errs, so the best and its ties hold it with 95 % confidence, however the best was
    picked.
    """
    level = 1 - (1 - LEVEL) / max(1, len(others))
    return [(other, compare_cases(best, other, level)) for other in others]
