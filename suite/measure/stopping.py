"""Decides when a case has been launched often enough, and when a run ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from suite.analysis.contenders import TOLD_APART_AT_ONCE, rank
from suite.analysis.doubts import FEW_LAUNCHES, half_width
from suite.analysis.verdict import Comparison
from suite.contract.row import Row
from suite.report.axes import families

# An estimate of the launches that are needed, made from three, may well be a few times too high.
WORTH_TRYING = 3


@dataclass(frozen=True)
class StoppingRule:
    """Ends a case after ``repeats`` launches, or earlier once its intervals are precise enough.

    ``precision`` is the relative half-width that the intervals of step time and speedup have to
    reach; ``budget_s`` is the time of all blocks in seconds. Whoever looks at an interval after
    every launch until it is narrow stops too early when it is narrow by chance. Therefore no case
    stops before ``FEW_LAUNCHES``, which keeps the share of false differences near 5 %
    (docs/decisions.md). Beyond that, cases that may still be the fastest are launched up to
    ``leader_repeats`` times.
    """

    repeats: int
    precision: float | None = None
    budget_s: float | None = None
    leader_repeats: int = 0

    def precise(self, row: Row) -> bool:
        """Returns whether this row needs no further launch."""
        if self.precision is None or row.repeats < FEW_LAUNCHES:
            return False
        widths = (half_width(row, name) for name in ("step_time", "speedup"))
        return all(width <= self.precision for width in widths if width is not None)

    def wanted(self, rows: Sequence[Row]) -> set[str]:
        """Returns the ids of the cases that the next block launches.

        A base is launched as long as any case that is compared with it, because a block gives a
        pair only if it holds both.
        """
        waiting = [row for row in rows if row.status == "ok" and not self.precise(row)]
        bases = {row.base_case_id for row in waiting if row.base_case_id}
        return {row.case_id for row in waiting} | bases

    def leaders(self, rows: Sequence[Row]) -> set[str]:
        """Ids of the cases that the next block launches once all have what ``wanted`` asks for.

        Of each question the case with the lowest step time, and the nearest of those that may be
        faster; cases that are shown to be slower get no more. So do not those that many times
        ``leader_repeats`` would not tell apart, nor those that are known to be alike.
        """
        found = set[str]()
        for ranking in filter(None, map(rank, self.of_questions(rows))):
            if ranking.blocks >= self.leader_repeats:
                continue
            near = [row for row, one in ranking.undecided
                    if self.worth_trying(one, ranking.blocks)]
            if near:
                found |= {row.case_id for row in (ranking.best, *near[:TOLD_APART_AT_ONCE])}
        return found

    def worth_trying(self, one: Comparison, blocks: int) -> bool:
        """Whether ``leader_repeats`` may tell two cases apart, by what ``blocks`` have shown."""
        return (one.pairs_to_tell() or math.inf) <= WORTH_TRYING * self.leader_repeats

    def of_questions(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Divides rows into groups of which each has a leader."""
        return families(rows)

    def left_out(self, rows: Sequence[Row]) -> set[str]:
        """Ids of the cases that are launched no more although others are."""
        return set()

    def affordable(self, spent_s: float, block_s: float) -> bool:
        """Returns whether one more block of ``block_s`` seconds ends nearer to the budget than
        stopping now.
        """
        return self.budget_s is None or spent_s + block_s / 2 <= self.budget_s

    def rows_left(self, rows: Sequence[Row]) -> int:
        """Estimates how many launches are missing of cases that have been launched."""
        wanted = self.wanted(rows)
        return sum(self._row_left(row) for row in rows if row.case_id in wanted)

    def left(
        self, rows_left: int, unstarted: int, certain: int, launch_s: float, spent_s: float
    ) -> int:
        """Estimates how many launches the rest of the run has.

        Args:
            rows_left: What ``rows_left`` says of the cases that have been launched.
            unstarted: How many cases have not been launched.
            certain: How many launches are sure to come; the result is at least that.
            launch_s: The mean time of a launch so far, in seconds.
            spent_s: The time that has been spent, in seconds.
        """
        each = self.repeats if self.precision is None else min(self.repeats, FEW_LAUNCHES)
        count = unstarted * each + rows_left
        if self.budget_s is not None:
            count = min(count, round(max(0.0, self.budget_s - spent_s) / launch_s))
        return max(count, certain)

    def _row_left(self, row: Row) -> int:
        """Estimates the launches a row still needs.

        An interval narrows with the root of their number.
        """
        done = int(row.repeats)
        if self.precision is None:
            return max(0, self.repeats - done)
        widths = [half_width(row, name) for name in ("step_time", "speedup")]
        widest = max((width for width in widths if width is not None), default=self.precision)
        needed = max(FEW_LAUNCHES, math.ceil(done * (widest / self.precision) ** 2))
        return max(0, min(self.repeats, needed) - done)
