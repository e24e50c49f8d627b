"""What ``--strategy auto`` chose, why, and what became of every way that it looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from suite.analysis.choice import CHOSEN, Choice, choices
from suite.analysis.contenders import HALVING
from suite.analysis.verdict import Comparison
from suite.contract.candidates import Candidate, is_plain
from suite.contract.formats import seconds, size_bytes
from suite.contract.row import Row
from suite.report.headline import step_text

HEADINGS = ("way", "what became of it", "predicted", "measured", "launches", "memory", "why")
FATES = {"run": "run", "slower": "not run: slower", "too large": "does not fit",
         "excluded": "cannot run here"}
SLOWER_SHOWN = 6


@dataclass(frozen=True)
class Line:
    """A way in the table.

    Attributes:
        cells: A text for each of ``HEADINGS``.
        fate: What became of it before anything ran.
        chosen: Whether it was chosen.
    """

    cells: tuple[str, ...]
    fate: str
    chosen: bool = False


@dataclass(frozen=True)
class Told:
    """The choice of one question, in words.

    Attributes:
        question: What was asked.
        claim: The chosen way, its time and the reason.
        looked_at: How many ways there were, and what became of them.
        lines: Every way: the chosen one, others that ran, the rest.
    """

    question: str
    claim: str
    looked_at: str
    lines: list[Line]


def candidates_of(run: Mapping[str, Any]) -> list[Candidate]:
    """The ways that a run looked at; none if it was not asked to choose.

    Args:
        run: Content of ``run.json``.
    """
    known = {one.name for one in fields(Candidate)}
    return [Candidate(**{name: value for name, value in entry.items() if name in known})
            for entry in run.get("candidates", ())]


def told(candidates: Sequence[Candidate], rows: Sequence[Row]) -> list[Told]:
    """Says what was chosen of every question.

    Args:
        candidates: The ways that were looked at.
        rows: The rows of those that ran.
    """
    made = {one.question: one for one in choices(rows)} if candidates else {}
    by_question: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_question.setdefault(one.question, []).append(one)
    by_id = {row.case_id: row for row in rows}
    return [
        Told(question, claim(made.get(question), ways), looked_at(ways),
             _lines(ways, by_id, made.get(question)))
        for question, ways in by_question.items()
    ]


def claim(choice: Choice | None, ways: Sequence[Candidate]) -> str:
    """The chosen way with its step time, and why it."""
    if choice is None:
        return "Nothing has been measured yet, so nothing is chosen."
    name = {one.case_id: one.way for one in ways}
    row, fastest = choice.row, choice.fastest
    lead = f"Choose {name.get(row.case_id, row.case_id)}: {step_text(row)} a step."
    if row is not fastest:
        return f"{lead} {_within_error(name, choice)}"
    plain = choice.plain
    if plain is None:
        return f"{lead} It is the fastest of those that ran; plain data parallelism cannot run."
    if plain is row:
        return f"{lead} No way that ran is shown to be faster than plain data parallelism."
    one = choice.comparison(plain)
    said = f"plain data parallelism takes {_ratio(one)}"
    if one is not None and one.open:
        return f"{lead} It has the lowest step time, but {said}, which is not told apart yet."
    return f"{lead} It is the fastest that ran: {said}."


def _within_error(name: Mapping[str, str], choice: Choice) -> str:
    """Why a plainer way is chosen than the one with the lowest step time."""
    what = ("plain data parallelism, which needs no change to a model" if is_plain(choice.row)
            else "one device, which needs no other")
    fastest = name.get(choice.fastest.case_id, choice.fastest.case_id)
    one = choice.comparison(choice.row)
    return (f"The lowest step time has {fastest}, {step_text(choice.fastest)}, but "
            f"{_ratio(one)}: within the error of {what}.")


def _ratio(one: Comparison | None) -> str:
    if one is None or one.ratio != one.ratio:
        return "as long as nobody measured beside it"
    interval = "" if one.low != one.low else f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.ratio:.2f}×{interval} its time"


def looked_at(ways: Sequence[Candidate]) -> str:
    """How many ways there were, and what became of them."""
    counts = Counter[str](one.fate for one in ways)
    said = [f"{counts[fate]} {text}" for fate, text in FATES.items() if counts[fate]]
    return f"{len(ways)} ways were looked at: {', '.join(said)}."


def _lines(ways: Sequence[Candidate], rows: Mapping[str, Row], choice: Choice | None) -> list[Line]:
    chosen = choice.row.case_id if choice else ""
    order = list(FATES)

    def place(one: Candidate) -> tuple[bool, int, float]:
        row = rows.get(one.case_id)
        known = row.step_time_s if row and row.timed else one.predicted_s
        return one.case_id != chosen, order.index(one.fate), known or float("inf")

    return [_line(one, rows.get(one.case_id), one.case_id == chosen)
            for one in sorted(ways, key=place)]


def _line(one: Candidate, row: Row | None, chosen: bool) -> Line:
    predicted = "" if one.predicted_s is None else seconds(one.predicted_s)
    if one.low_s is not None and one.high_s is not None:
        predicted += f" [{seconds(one.low_s)}, {seconds(one.high_s)}]"
    memory = "" if one.peak_bytes is None else size_bytes(int(one.peak_bytes))
    became, why, measured, launches = FATES[one.fate], one.reason, "", ""
    if row is not None:
        measured = step_text(row) if row.timed else row.status
        launches = str(row.repeats)
        why = row.reason or why
        became = CHOSEN if chosen else "left out by halving" if row.stopped == HALVING else "run"
    return Line((one.way, became, predicted, measured, launches, memory, why), one.fate, chosen)


def choice_parts(found: Sequence[Told]) -> list[Text | Table]:
    """The same for a terminal; ways that cannot run stand in a line for each reason."""
    parts: list[Text | Table] = []
    for one in found:
        parts += [Text(f"{one.question}: {one.claim}", style="bold"), Text(one.looked_at),
                  _table(one), *_left_out(one)]
    return parts


def _table(one: Told) -> Table:
    table = Table(*HEADINGS, box=SIMPLE_HEAD, padding=(0, 1))
    slower = [line for line in one.lines if line.fate == "slower"]
    ran = [line for line in one.lines if line.fate == "run"]
    large = [line for line in one.lines if line.fate == "too large"]
    for line in [*ran, *slower[:SLOWER_SHOWN], *large]:
        table.add_row(*line.cells, style="bold green" if line.chosen else "")
    if len(slower) > SLOWER_SHOWN:
        table.caption = f"{len(slower) - SLOWER_SHOWN} more are in the page and in run.json"
    return table


def _left_out(one: Told) -> list[Text]:
    reasons: dict[str, list[str]] = {}
    for line in one.lines:
        if line.fate == "excluded":
            reasons.setdefault(line.cells[-1], []).append(line.cells[0])
    return [Text(f"- {len(ways)} {'ways' if len(ways) > 1 else 'way'}, such as {ways[0]}: {reason}",
                 style="dim") for reason, ways in reasons.items()] + [Text("")]


def plan_parts(candidates: Sequence[Candidate]) -> list[Text | Table]:
    """What was looked at, before anything has run."""
    parts: list[Text | Table] = []
    for one in told(candidates, []):
        parts += [Text(f"{one.question}: {one.looked_at}", style="bold"), _table(one),
                  *_left_out(one)]
    return parts


def verdict_lines(found: Sequence[Told]) -> list[str]:
    """A line for each question: what is printed where a run is to say little."""
    return [f"{one.question}: {one.claim}" for one in found]
