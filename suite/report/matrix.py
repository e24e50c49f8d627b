"""Rows to what a reader sees first: a verdict and a grid for each workload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from suite.spec.metrics import BY_NAME
from suite.spec.strategies import STRATEGIES

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One case of the grid; ``speedup`` is None where none is given, ``best`` the lowest median."""

    status: str
    step: str
    speedup: float | None
    speedup_text: str
    note: str
    best: bool


@dataclass(frozen=True)
class Grid:
    """Frameworks down, strategies across, for one workload on a number of devices."""

    title: str
    verdict: str
    strategies: list[str]
    lines: list[tuple[str, list[Cell | None]]]


def framework_name(row: Row) -> str:
    return f"horovod/{row['engine']}" if row["framework"] == "horovod" else str(row["framework"])


def case_name(row: Row) -> str:
    """``pytorch inter_layer gpipe``."""
    return " ".join(part for part in (framework_name(row), row["strategy"], row["variant"]) if part)


def build_grids(rows: list[Row]) -> list[Grid]:
    """One grid a workload and size, in the order of the rows."""
    keys = dict.fromkeys((row["workload"], row["size"]) for row in rows)
    return [_grid([r for r in rows if (r["workload"], r["size"]) == key]) for key in keys]


def _grid(rows: list[Row]) -> Grid:
    strategies = [s for s in STRATEGIES if any(row["strategy"] == s for row in rows)]
    best = _ordered(rows)[:1]
    held = {(framework_name(row), row["strategy"]): row for row in rows}
    lines = [
        (name, [_cell(held.get((name, strategy)), best) for strategy in strategies])
        for name in dict.fromkeys(framework_name(row) for row in rows)
    ]
    first, devices = rows[0], max(row["devices"] for row in rows)
    title = (
        f"{first['workload']} {first['size']}, global batch {first['global_batch']}, "
        f"{devices} {first['device']} devices"
    )
    return Grid(title, _verdict(rows), strategies, lines)


def _cell(row: Row | None, best: list[Row]) -> Cell | None:
    if row is None:
        return None
    if row["status"] != "ok":
        return Cell(row["status"], "", None, "", row["reason"], False)
    note = "; ".join(text.split(":")[0] for text in row["warnings"].split("; ") if text)
    speedup = row.get("speedup")
    step = BY_NAME["step_time_s"].show(row["step_time_s"])
    # Its own base needs no 1.00×.
    text = "" if row["strategy"] == "single" else speedup_text(row)
    return Cell("ok", step, speedup, text, note, row in best)


def speedup_text(row: Row) -> str:
    """With its interval where there is one."""
    if row.get("speedup") is None:
        return ""
    show = BY_NAME["speedup"].show
    low, high = row["speedup_ci_low"], row["speedup_ci_high"]
    interval = "" if low != low else f" [{low:.2f}, {high:.2f}]"
    return f"{show(row['speedup'])}{interval}"


def grouped_warnings(rows: list[Row]) -> list[tuple[str, str]]:
    """Each warning once, with the cases it concerns."""
    return _grouped(rows, lambda row: [w for w in row["warnings"].split("; ") if w])


def grouped_reasons(rows: list[Row]) -> list[tuple[str, str]]:
    """Why cases did not run, each reason once with its cases."""
    return _grouped(
        rows, lambda row: [] if row["status"] == "ok" else [f"{row['status']}: {row['reason']}"]
    )


def _grouped(rows: list[Row], texts: Callable[[Row], list[str]]) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        for text in texts(row):
            found.setdefault(text, []).append(case_name(row))
    return [
        (text, "all cases" if len(names) == len(rows) else ", ".join(dict.fromkeys(names)))
        for text, names in found.items()
    ]


def _ordered(rows: list[Row]) -> list[Row]:
    """What ran and may be ranked, fastest first."""
    return sorted((row for row in rows if row["status"] == "ok"), key=lambda r: r["step_time_s"])


def _verdict(rows: list[Row]) -> str:
    """The fastest case in words; where intervals overlap nobody is called faster."""
    ordered = _ordered(rows)
    if not ordered:
        return "Nothing has finished yet."
    best = ordered[0]
    lead = f"{case_name(best)} has the lowest step time, {_step(best)}"
    reach = best["step_time_ci_high_s"]
    if reach != reach:
        return f"{lead}; one launch cannot show it is faster."
    ties = [case_name(r) for r in ordered[1:] if not r["step_time_ci_low_s"] > reach]
    if ties:
        return f"{lead}; a tie with {', '.join(ties)}."
    rest = f", next {case_name(ordered[1])} at {_step(ordered[1])}" if ordered[1:] else ""
    return f"{lead}: faster than every other{rest}."


def _step(row: Row) -> str:
    return BY_NAME["step_time_s"].show(row["step_time_s"])
