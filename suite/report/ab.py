"""The comparison of side A with side B: the answer, the table, and the rows of ``ab.csv``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from suite.analysis.comparison import COMPARED, RowComparison
from suite.analysis.sides import step_time_of
from suite.contract.metrics import BY_NAME
from suite.report.compared import STYLES, plain

CSV_COLUMNS = ["metric", "unit", "a", "b", "ratio", "ratio_low", "ratio_high", "verdict", "pairs"]
HEAD = ("metric", "A", "B", "B / A", "95 % interval", "B is", "pairs")
NO_DIFFERENCE = "no difference told"


def answer(rows: Sequence[RowComparison]) -> str:
    """Says in a sentence what the step times show."""
    step = step_time_of(rows)
    if step is None or not step.pairs:
        return "No block holds both sides, so nothing can be said."
    if not step.verdict:
        return (f"Only one pair of launches finished, with a ratio of {step.change:.3f}. Without "
                "an interval no difference can be claimed.")
    blocks = f"over {step.pairs} blocks that hold both"
    if step.verdict == "tie":
        return f"{NO_DIFFERENCE.capitalize()}: {_reach(step)}, {blocks}."
    return (f"B is {step.verdict}: its step takes {step.change:.3f} "
            f"[{step.low:.3f}, {step.high:.3f}] times as long as A's, {blocks}.")


def _reach(step: RowComparison) -> str:
    return f"B could be up to {1 - step.low:.1%} faster or {step.high - 1:.1%} slower"


def heading(run: Mapping[str, Any]) -> list[str]:
    """Says what the two sides are, and what differs between them.

    Args:
        run: The run, with its sides.
    """
    lines = [f"{name.upper()}: {_side(run['sides'][name])}" for name in ("a", "b")]
    if run["same"]:
        return [*lines, "A and B are the same in every respect: an A/A test, in which any "
                        "difference that is told is a false one."]
    differ = run["differences"]
    return [*lines, *([f"They differ in {'; '.join(differ)}."] if differ else [])]


def _side(side: Mapping[str, Any]) -> str:
    case = side["case"]
    settings = " ".join(f"{name}={value}" for name, value in side["settings"].items())
    parts = [case["framework"], case["strategy"], case["variant"], case["workload"], case["size"],
             f"{case['devices']} {case['device']}", case["dtype"], case["mode"],
             f"with {settings}" if settings else ""]
    return " ".join(part for part in parts if part)


def closing(run: Mapping[str, Any], rows: Sequence[RowComparison]) -> list[str]:
    """Says the answer, what the intervals hold, and what is missing.

    Args:
        run: The run, with its sides.
        rows: The comparison of each metric.
    """
    lines = [answer(rows)]
    if rows:
        lines.append("A ratio is B over A, paired by block. Each interval holds 95 % by itself. "
                     "The answer is that of the step time.")
    for name in ("a", "b"):
        side = run["sides"][name]
        if failed := side["failed"]:
            lines.append(f"{name.upper()}: {len(failed)} launches failed and leave their blocks "
                         f"without a pair; the last: {failed[-1]['status']}: "
                         f"{failed[-1]['reason']}")
        lines += [f"{name.upper()} {side['problem']}"] if side["problem"] else []
    return lines


def table(rows: Sequence[RowComparison]) -> Table:
    """Makes a table with a line for each metric: A, B, their ratio and what it says about B."""
    shown = Table(*HEAD)
    for column in (*shown.columns[1:5], shown.columns[6]):
        column.no_wrap, column.justify = True, "right"
    for row in rows:
        metric = BY_NAME[COMPARED[row.metric]]
        interval = "" if math.isnan(row.low) else f"[{row.low:.3f}, {row.high:.3f}]"
        figures = (metric.show(row.before), metric.show(row.after), _ratio(row.change))
        shown.add_row(metric.label, *figures, interval, _said(row), str(row.pairs or ""))
    return shown


def _ratio(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _said(row: RowComparison) -> Text:
    if row.low == row.high == 1:
        return Text("equal", style="dim")
    if row.verdict == "tie":
        reach = f"{row.reach:.1%}" if row.reach < 1 else "more than twice"
        return Text(f"{NO_DIFFERENCE} (could be {reach})", style="dim")
    return Text(row.verdict or row.reason, style=STYLES.get(row.verdict, "dim"))


def csv_rows(rows: Sequence[RowComparison]) -> list[dict[str, Any]]:
    """Makes the rows of ``ab.csv``: raw figures in the unit of their column, None where missing."""
    return [
        plain({
            "metric": row.metric, "unit": BY_NAME[COMPARED[row.metric]].unit, "a": row.before,
            "b": row.after, "ratio": row.change, "ratio_low": row.low, "ratio_high": row.high,
            "verdict": row.verdict, "pairs": row.pairs,
        })
        for row in rows
    ]


def as_json(run: Mapping[str, Any], rows: Sequence[RowComparison]) -> dict[str, Any]:
    """Returns as plain values what the terminal shows.

    Args:
        run: The run, with its sides.
        rows: The comparison of each metric.
    """
    return {
        "run_id": run["run_id"], "state": run["state"], "stopped": run["stopped"],
        "same": run["same"], "differences": run["differences"], "sides": run["sides"],
        "answer": answer(rows), "rows": csv_rows(rows),
    }
