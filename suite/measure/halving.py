"""Successive halving: every block launches the faster half of the ways that the last one ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.analysis.choice import better_half, left_in, questions
from suite.analysis.doubts import FEW_LAUNCHES
from suite.analysis.verdict import Comparison
from suite.contract.row import Row
from suite.measure.stopping import StoppingRule


@dataclass(frozen=True)
class HalvingRule(StoppingRule):
    """Stops the slower half of each question's ways after every block.

    Plain data parallelism and one device are launched in every block, so each way is compared with
    them in pairs of one block. Once one way is left beside them, or ``repeats`` blocks are made,
    the rules of every run go on with those that are left: until they are precise enough, and then
    with the leaders until they are told apart (Jamieson & Talwalkar 2016, successive halving).
    """

    def wanted(self, rows: Sequence[Row]) -> set[str]:
        """Ids of the cases that the next block launches."""
        found = set[str]()
        for group in questions(rows).values():
            kept = better_half(group)
            if len(kept) < len(left_in(group)) or super().wanted(kept):
                found |= {row.case_id for row in kept}
        return found

    def worth_trying(self, one: Comparison, blocks: int) -> bool:
        """Gives nothing up before ``FEW_LAUNCHES``, because the choice depends on it.

        One block of three that another program disturbed makes the estimate many times too high.
        """
        return blocks < FEW_LAUNCHES or super().worth_trying(one, blocks)

    def of_questions(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows that may be told apart from each other: those that no round left out."""
        return [left_in(group) for group in questions(rows).values()]

    def left_out(self, rows: Sequence[Row]) -> set[str]:
        """Ids of the cases that a round left out."""
        return {row.case_id for row in rows} - {
            row.case_id for group in self.of_questions(rows) for row in group}
