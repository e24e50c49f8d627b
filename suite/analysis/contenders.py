"""Which cases may be the fastest, and what it would take to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.analysis.deciding import WIDE
from suite.analysis.verdict import NOT_COMPARABLE, Comparison, may_be_fastest
from suite.contract.row import Row

# The best and three more: who needs to know more than that asks for more launches of all.
TOLD_APART_AT_ONCE = 3
# Why a case is launched no more (column ``stopped``): another way was faster in its round.
HALVING = "halving"


@dataclass(frozen=True)
class Ranking:
    """The case with the lowest step time against each other one that ran, at 95 % together.

    Where batches grew with the devices, step times count for the work of one base.
    """

    best: Row
    compared: list[tuple[Row, Comparison]]

    @property
    def grown(self) -> bool:
        """Whether steps of several amounts of work are compared, as with weak scaling."""
        return any(row.work > 1 for row in (self.best, *(row for row, _ in self.compared)))

    @property
    def blocks(self) -> int:
        """How many blocks there have been, also such that held some of the cases only."""
        rows = (self.best, *(row for row, _ in self.compared))
        return max(len(row.launch_step_s) for row in rows)

    @property
    def ranked(self) -> list[tuple[Row, Comparison]]:
        """Those that may be compared with the best, nearest first."""
        return [(row, one) for row, one in self.compared if one.verdict != NOT_COMPARABLE]

    @property
    def open(self) -> list[tuple[Row, Comparison]]:
        """Those that may be as fast as the best, or faster: nearest first."""
        found = [(row, one) for row, one in self.ranked if one.open]
        return sorted(found, key=lambda pair: pair[1].ratio)

    @property
    def undecided(self) -> list[tuple[Row, Comparison]]:
        """Those of ``open`` that are not known to take the best's time to within ``WIDE``."""
        return [(row, one) for row, one in self.open if not alike(one)]


@dataclass(frozen=True)
class Deciding:
    """How many blocks would tell the best from its nearest.

    Attributes:
        rows: The nearest; the missing blocks launch these and the best.
        have: Blocks that have been made.
        repeats: Blocks in all that would tell.
        seconds: How long the missing ones take; None where a launch's length is unknown.
    """

    rows: tuple[Row, ...]
    have: int
    repeats: int
    seconds: float | None


def alike(one: Comparison) -> bool:
    """Whether a tie is as good as equal: neither takes longer than the other by ``WIDE``."""
    return one.verdict == "tie" and one.high <= 1 + WIDE and one.low >= 1 / (1 + WIDE)


def rank(rows: Sequence[Row]) -> Ranking | None:
    """None where nothing has finished."""
    ordered = sorted((row for row in rows if row.status == "ok"),
                     key=lambda row: row.step_seconds / row.work)
    if not ordered:
        return None
    return Ranking(ordered[0], may_be_fastest(ordered[0], ordered[1:]))


def what_would_tell(ranking: Ranking) -> Deciding | None:
    """What would tell the best from its nearest; None where nothing is open, or nothing would."""
    # What a round of --strategy auto left out gets no more launches.
    left = [(row, one) for row, one in ranking.undecided if row.stopped != HALVING]
    near = [(row, one.pairs_to_tell(), one.pairs) for row, one in left[:TOLD_APART_AT_ONCE]]
    tellable = [(row, pairs, had) for row, pairs, had in near if pairs is not None]
    if not tellable:
        return None
    missing = max(pairs - had for _, pairs, had in tellable)
    lengths = [row.launch_s for row in (ranking.best, *(row for row, _, _ in tellable))]
    known = [one for one in lengths if one is not None]
    seconds = missing * sum(known) if len(known) == len(lengths) else None
    blocks = ranking.blocks
    return Deciding(tuple(row for row, _, _ in tellable), blocks, blocks + missing, seconds)
