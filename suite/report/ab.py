"""A against B: the answer, the table and the rows of ``ab.csv``."""

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
    """What the step time says, in a sentence."""
    found = step_time_of(rows)
    if found is None or not found.pairs:
        return "No block holds both sides: nothing can be said."
    if not found.verdict:
        return f"One pair of launches, ratio {found.change:.3f}: no interval, nothing is told."
    blocks = f"over {found.pairs} blocks that hold both"
    if found.verdict == "tie":
        return f"{NO_DIFFERENCE.capitalize()}: {_reach(found)}, {blocks}."
    return (f"B is {found.verdict}: its step takes {found.change:.3f} "
            f"[{found.low:.3f}, {found.high:.3f}] times as long as A's, {blocks}.")


def _reach(found: RowComparison) -> str:
    return f"B could be up to {1 - found.low:.1%} faster or {found.high - 1:.1%} slower"


def heading(run: Mapping[str, Any]) -> list[str]:
    """Which two are compared, and what differs between them."""
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
    """The answer, what the intervals hold, and what is missing."""
    lines = [answer(rows)]
    if rows:
        lines.append("Ratio is B over A, paired by block; each interval holds 95 % by itself, and "
                     "the answer is that of the step time.")
    for name in ("a", "b"):
        side = run["sides"][name]
        if failed := side["failed"]:
            lines.append(f"{name.upper()}: {len(failed)} launches failed and leave their blocks "
                         f"without a pair; the last: {failed[-1]['status']}: "
                         f"{failed[-1]['reason']}")
        lines += [f"{name.upper()} {side['problem']}"] if side["problem"] else []
    return lines


def table(rows: Sequence[RowComparison]) -> Table:
    """A line a metric: A, B, the ratio with its interval, and what it says of B."""
    found = Table(*HEAD)
    for column in (*found.columns[1:5], found.columns[6]):
        column.no_wrap, column.justify = True, "right"
    for row in rows:
        metric = BY_NAME[COMPARED[row.metric]]
        interval = "" if math.isnan(row.low) else f"[{row.low:.3f}, {row.high:.3f}]"
        figures = (metric.show(row.before), metric.show(row.after), _ratio(row.change))
        found.add_row(metric.label, *figures, interval, _said(row), str(row.pairs or ""))
    return found


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
    """Rows of ``ab.csv``: raw figures in the unit of their column; None where there is none."""
    return [
        plain({
            "metric": row.metric, "unit": BY_NAME[COMPARED[row.metric]].unit, "a": row.before,
            "b": row.after, "ratio": row.change, "ratio_low": row.low, "ratio_high": row.high,
            "verdict": row.verdict, "pairs": row.pairs,
        })
        for row in rows
    ]


def as_json(run: Mapping[str, Any], rows: Sequence[RowComparison]) -> dict[str, Any]:
    """What the terminal shows, as plain values."""
    return {
        "run_id": run["run_id"], "state": run["state"], "stopped": run["stopped"],
        "same": run["same"], "differences": run["differences"], "sides": run["sides"],
        "answer": answer(rows), "rows": csv_rows(rows),
    }
