"""Which way ``--strategy auto`` chooses of those that it ran, round after round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from suite.analysis.contenders import rank
from suite.analysis.speedups import add_speedup
from suite.analysis.verdict import NOT_COMPARABLE, Comparison
from suite.contract.candidates import is_alone, is_plain, question
from suite.contract.row import Row

CHOSEN, NOT_CHOSEN = "chosen", "not chosen"


@dataclass(frozen=True)
class Choice:
    """The way that was chosen of a question's.

    Attributes:
        question: The question, in words.
        row: The chosen way.
        fastest: The one with the lowest step time of those that no round left out.
        plain: Plain data parallelism; None where it cannot run.
        against: The others that no round left out, each with how the fastest compares with it.
    """

    question: str
    row: Row
    fastest: Row
    plain: Row | None
    against: list[tuple[Row, Comparison]]

    def comparison(self, row: Row) -> Comparison | None:
        """How the fastest compares with another way; None if there is no such comparison."""
        return next((one for other, one in self.against if other is row), None)


def questions(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Divides rows by question; one device is among the ways of every number of devices."""
    counts = sorted({row.devices for row in rows if row.strategy != "single"}) or [1]
    found: dict[str, list[Row]] = {}
    for devices in counts:
        for row in rows:
            if row.strategy == "single" or row.devices == devices:
                found.setdefault(question(row, devices), []).append(row)
    return found


def left_in(rows: Sequence[Row]) -> list[Row]:
    """Rows of a question that no round left out: those that were launched as often as any.

    Plain data parallelism and one device always stay, as what a split has to beat.
    """
    ok = [row for row in rows if row.status == "ok"]
    fixed = [row for row in ok if is_plain(row) or is_alone(row)]
    rivals = [row for row in ok if row not in fixed]
    most = max((row.repeats for row in rivals), default=0)
    return fixed + [row for row in rivals if row.repeats == most]


def choose(name: str, rows: Sequence[Row]) -> Choice | None:
    """Chooses a way of a question.

    The fastest is chosen, unless plain data parallelism is not shown to be slower: it needs no
    change to a model, and errors of a measurement are no advantage. So it is with one device.

    Args:
        name: The question, in words.
        rows: Its rows.

    Returns:
        The choice; None while nothing has finished.
    """
    ranking = rank([row for row in left_in(rows) if row.timed])
    if ranking is None:
        return None
    best = ranking.best
    plain = next((row for row in rows if is_plain(row) and row.timed), None)
    simpler = [row for row, one in ranking.compared
               if (is_plain(row) or is_alone(row)) and not _slower(one)]
    simpler.sort(key=is_alone)  # plain data parallelism before one device
    stays = is_plain(best) or is_alone(best) or not simpler
    return Choice(name, best if stays else simpler[0], best, plain, ranking.compared)


def _slower(one: Comparison) -> bool:
    """Whether the fastest is shown to be faster; what cannot be compared is no rival."""
    return one.verdict in ("faster", NOT_COMPARABLE)


def choices(rows: Sequence[Row]) -> list[Choice]:
    """The choice of every question that has one."""
    found = (choose(name, group) for name, group in questions(rows).items())
    return [one for one in found if one is not None]


def mark_chosen(rows: Sequence[Row]) -> None:
    """Marks the rows that are chosen, and the others as those of a run that chooses.

    In such a run micro-batches and recomputation are ways among others. So all of them are compared
    with one another, and the base of a speedup is one device with nothing added.
    """
    for row in rows:
        row.choice = NOT_CHOSEN
    for group in questions(rows).values():
        base = next((row for row in group if is_alone(row) and row.timed), None)
        for row in group:
            if row.timed and base is not None and row.base_case_id != base.case_id:
                add_speedup(row, base)
    chosen = {one.row.case_id for one in choices(rows)}
    for row in rows:
        row.choice = CHOSEN if row.case_id in chosen else NOT_CHOSEN


def better_half(rows: Sequence[Row]) -> list[Row]:
    """The faster half, at least one, of what a question's last round ran beside what stays."""
    remaining = left_in(rows)
    rivals = [row for row in remaining if not (is_plain(row) or is_alone(row))]
    timed = sorted((row for row in rivals if row.timed), key=lambda row: row.step_seconds)
    kept = timed[: math.ceil(len(timed) / 2)]
    return [row for row in remaining if row not in rivals] + kept
