"""Judged predictions as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from suite.foresight.figures import Verdict

HEADINGS = ("source", "quantity", "judged", "simplest rule", "model", "goal", "rank", "in 90 %")


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.{digits}%}"


def cells(one: Verdict) -> tuple[str, ...]:
    """What a reader sees of a source, under ``HEADINGS``."""
    met = {None: "", True: ", met", False: ", missed"}[one.met]
    rank = "" if math.isnan(one.rank_correlation) else f"{one.rank_correlation:.3f}"
    goal = "" if math.isnan(one.goal) else f"{one.goal:.0%}{met}"
    return (one.source, one.quantity, str(one.judged), percent(one.baseline_error),
            percent(one.error), goal, rank, percent(one.coverage, 0))


def verdict_lines(found: Sequence[Verdict]) -> Iterator[str]:
    """A table in plain text: sources that were judged, with the errors of rule and model."""
    rows = [HEADINGS, *(cells(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        left = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        yield "  ".join(left).rstrip()


def left_out_lines(reasons: Mapping[str, int]) -> Iterator[str]:
    """How many rows say no step's time that could be predicted, and why."""
    yield "Not among the step times:"
    for reason, count in sorted(reasons.items()):
        yield f"  {count:4d}  {reason}"
