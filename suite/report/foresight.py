"""Predictions and their judgement as tables and lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from suite.contract.formats import seconds, size_bytes
from suite.foresight.correction import BORROWED, EXACT, NOT
from suite.foresight.figures import Verdict
from suite.foresight.plans import Plan
from suite.foresight.question import Answer, way

HEADINGS = ("source", "quantity", "judged", "simplest rule", "model", "goal", "rank", "in 90 %")
# Kinds of plans that a table shows; JSON has all.
MOST_SHOWN = 16
REHEARSED = {EXACT: "rehearsed", BORROWED: "in part", NOT: "constants"}
PREDICTED = ("way", "mesh", "step", "90 %", "samples/s", "T_comm", "exposed", "L", "bubble",
             "memory", "MFU")


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


def mesh(plan: Plan) -> str:
    """Sizes of the axes that are used: ``data=4,intra_layer=2``."""
    sizes = {"data": plan.replicas, "intra_layer": plan.shards, "inter_layer": plan.stages}
    return ",".join(f"{name}={size:.0f}" for name, size in sizes.items() if size > 1)


def predicted_table(found: Answer, peak_flops_s: float) -> Table:
    """The best plan of each kind, the fastest first; what does not fit says by how much.

    Args:
        found: The plans and their predictions.
        peak_flops_s: What MFU is a share of; 0 leaves it out.

    Returns:
        The table.
    """
    one = found.prediction
    marked = bool(one.rehearsed.any())
    table = Table(*PREDICTED, *(["from"] if marked else []), title="Predicted: nothing was run")
    room = float(found.posterior.stack.machine.memory_bytes)
    for place, number in enumerate(found.shown[:MOST_SHOWN]):
        plan = found.plans[number]
        memory = size_bytes(int(one.peak_bytes[number]))
        over = "" if found.fits(number) else f", {one.peak_bytes[number] / room:.1f} x the room"
        cells = (
            way(plan), mesh(plan), seconds(one.step_s[number]),
            f"{seconds(found.low_s[place])}…{seconds(found.high_s[place])}",
            f"{one.samples_s[number]:.4g}", seconds(one.communication_s[number]),
            seconds(one.exposed_s[number]), f"{one.load_balance[number]:.2f}",
            f"{one.bubble[number]:.0%}" if plan.stages > 1 else "", memory + over,
            f"{one.flops_s[number] / peak_flops_s:.0%}" if peak_flops_s else "",
            *([REHEARSED[float(one.rehearsed[number])]] if marked else []),
        )
        table.add_row(*cells, style=None if found.fits(number) else "dim")
    return table


def predicted_rows(found: Answer) -> list[dict[str, object]]:
    """The same as JSON: seconds, bytes and counts."""
    rows: list[dict[str, object]] = []
    for place, number in enumerate(found.shown):
        figures = {name: float(values[number]) for name, values in vars(found.prediction).items()}
        rows.append({
            "way": way(found.plans[number]), "mesh": mesh(found.plans[number]),
            "plan": asdict(found.plans[number]), "step_low_s": float(found.low_s[place]),
            "step_high_s": float(found.high_s[place]), "fits": found.fits(number), **figures,
        })
    return rows
