"""The comparison tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from suite.report.matrix import (
    Cell,
    Grid,
    build_grids,
    case_name,
    grouped_reasons,
    grouped_warnings,
    speedup_text,
)
from suite.spec.metrics import BY_NAME

Row = dict[str, Any]
DETAILS = (
    "throughput_samples_s", "t_comm_s", "comm_bytes", "comm_count", "alpha_s_per_byte",
    "load_balance", "peak_memory_bytes", "parity",
)


DETAILS_WIDTH = 130


def comparison(rows: list[Row], width: int) -> Iterator[RenderableType]:
    """Per workload the grid and the verdict, then the details and every reason."""
    for grid in build_grids(rows):
        yield _grid_table(grid)
        yield Text(grid.verdict, style="bold")
    if width >= DETAILS_WIDTH:
        yield details_table(rows)
    else:
        yield Text(f"T_comm, alpha, L and more: in {DETAILS_WIDTH} columns, or in the page below")
    for reason, where in grouped_reasons(rows):
        yield Text(f"{reason} ({where})", style="red")
    for warning, where in grouped_warnings(rows):
        yield Text(f"{warning} ({where})", style="yellow")


def _grid_table(grid: Grid) -> Table:
    table = Table("", *grid.strategies, title=grid.title, title_justify="left", title_style="bold")
    for name, cells in grid.lines:
        table.add_row(name, *(_shown(cell) for cell in cells))
    return table


def _shown(cell: Cell | None) -> Text:
    if cell is None:
        return Text("")
    if cell.status != "ok":
        return Text(cell.status, style="dim" if cell.status == "unsupported" else "red")
    text = Text(cell.step, style="bold green" if cell.best else "")
    return text.append(f"\n{cell.speedup_text}", style="not bold") if cell.speedup_text else text


def details_table(rows: list[Row]) -> Table:
    """A line a case that ran."""
    table = Table("case", "step", "speedup", *(BY_NAME[name].label for name in DETAILS))
    for column in table.columns[1:]:
        column.no_wrap = True
        column.justify = "right"
    several = len({(row["workload"], row["size"]) for row in rows}) > 1
    for row in (row for row in rows if row["status"] == "ok"):
        name = case_name(row) + (f", {row['workload']} {row['size']}" if several else "")
        shown = (BY_NAME[key].show(row.get(key)) for key in DETAILS)
        table.add_row(name, BY_NAME["step_time_s"].show(row["step_time_s"]), speedup_text(row),
                      *shown)
    return table

