"""The comparison for a terminal (the answer, the grid, what to doubt), and as text or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from suite.contract.metrics import BY_NAME
from suite.contract.row import Row
from suite.report.axes import common
from suite.report.dangers import CERTAINTY, EXPLANATION, ORDER, TERMS, doubt_lines
from suite.report.doubts import grouped_reasons, noise, proven
from suite.report.headline import Headline, speedup_text
from suite.report.host_scaling import build_host_scalings, host_table
from suite.report.matrix import Cell, Grid, build_grids
from suite.report.memory_frontier import frontier_table
from suite.report.names import names_in
from suite.report.scaling import Scaling, build_scalings, scaling_table

DETAILS = (
    "throughput_samples_s", "t_comm_s", "comm_bytes", "comm_count", "alpha_s_per_byte",
    "load_balance", "peak_memory_bytes", "parity",
)
DETAILS_WIDTH = 130
# A terminal is read from its end, so what does not fit a few screens is left to the page.
GRIDS_AT_MOST, LINES_AT_MOST, CASES_AT_MOST = 12, 30, 120
# Widths of a grid's cell with the interval beside the speedup, and of the frameworks' column.
CELL_WIDTH, NAME_WIDTH = 20, 20
# The least width of a grid's cell. Ways that have less stand below each other.
NARROW_WIDTH = 12
# From this width on a doubt's line has room for the names of cases.
NAMED_WIDTH = 140
STYLES = {ORDER: "red", CERTAINTY: "yellow", TERMS: "", EXPLANATION: ""}


def comparison(
    rows: list[Row], width: int, folder: str, grids: list[Grid] | None = None
) -> Iterator[RenderableType]:
    """Yields what a terminal shows of a run.

    For each workload this is the grid and the answer, then what is proven, the details, and every
    reason and warning.

    Args:
        rows: Rows of the run.
        width: Width of the terminal in characters.
        folder: The run's folder, for the commands that go on with it.
        grids: What ``build_grids`` made of the rows, if that is known already.
    """
    yield from answers(rows, width, folder, grids)
    if rows:
        yield Text(f"{proven(rows)} All cases: {', '.join(common(rows))}.\n")
    yield from frontier_table(rows)
    if width >= DETAILS_WIDTH:
        yield details_table(rows[:CASES_AT_MOST])
        if len(rows) > CASES_AT_MOST:
            yield Text(f"{len(rows) - CASES_AT_MOST} more cases are in the page and in results.csv")
    else:
        yield Text(f"A terminal of {DETAILS_WIDTH} columns shows T_comm, alpha, L and more here; "
                   "so does the page below.")
    yield from _reasons(rows)
    yield from _doubts(rows, width)


def answers(
    rows: list[Row], width: int, folder: str, grids: list[Grid] | None = None
) -> Iterator[RenderableType]:
    """Yields whether the machine was noisy; then for each workload how it scales, and its grids.

    Each is followed by its answer.

    Args:
        rows: Rows of the run.
        width: Width of the terminal in characters.
        folder: The run's folder, for the commands that go on with it.
        grids: What ``build_grids`` made of the rows, if that is known already.
    """
    if disturbed := noise(rows):
        yield Text(f"{disturbed}\n", style="yellow")
    for scaling in build_scalings(rows)[:GRIDS_AT_MOST]:
        yield scaling_table(scaling, width)
        yield from _answer(scaling.headline, folder)
    for over_hosts in build_host_scalings(rows)[:GRIDS_AT_MOST]:
        yield host_table(over_hosts)
        yield Text("")
    grids = build_grids(rows) if grids is None else grids
    for grid in grids[:GRIDS_AT_MOST]:
        yield _grid_table(grid, width)
        yield from _answer(grid.headline, folder)
    if len(grids) > GRIDS_AT_MOST:
        yield Text(f"{len(grids) - GRIDS_AT_MOST} more workloads and settings are in the page "
                   "below\n")


def _answer(headline: Headline, folder: str) -> Iterator[RenderableType]:
    yield Text(headline.claim, style="bold")
    if telling := headline.telling(folder):
        yield Text(telling, style="cyan")
    yield Text(f"{' '.join(headline.support)}\n")


def verdicts(rows: list[Row], grids: list[Grid] | None = None) -> list[str]:
    """Returns a line with the answer for each workload, over all numbers of devices and on each.

    Args:
        rows: Rows of the run.
        grids: What ``build_grids`` made of the rows, if that is known already.
    """
    grids = build_grids(rows) if grids is None else grids
    parts: list[Scaling | Grid] = [*build_scalings(rows), *grids]
    return [f"{part.title}: {part.headline.claim}" for part in parts]


def machine_rows(rows: list[Row]) -> list[dict[str, Any]]:
    """Returns rows for JSON: warnings as objects, and null for a figure that does not exist."""
    return [
        {name: _plain(value) for name, value in row.as_dict().items()}
        | {"warnings": [{"code": each.code, "message": each.message, "hint": each.hint}
                        for each in row.warnings],
           "frontier": [vars(probe) for probe in row.frontier]}
        for row in rows
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reasons(rows: list[Row]) -> Iterator[RenderableType]:
    """Why cases did not run: each reason whole, since the way to mend it stands in it."""
    for reason, cases in grouped_reasons(rows):
        yield Group(Text(f"- {reason}", style="red"), Text(f"  {cases}", style="dim"))


def _doubts(rows: list[Row], width: int) -> Iterator[RenderableType]:
    """What to doubt of the cases that ran, a line a kind; the page has the figures by row."""
    lines = doubt_lines(rows, named=width >= NAMED_WIDTH)
    if not lines:
        return
    table = Table(title="What to doubt, gravest first (row by row: in the page, in results.csv)",
                  title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in ("doubt", "cases", "worst", "what to do"):
        table.add_column(heading, header_style="dim")
    for line in lines:
        table.add_row(line.name, line.cases, line.worst, line.fix, style=STYLES[line.endangers])
    yield Text("")
    yield table


def _grid_table(grid: Grid, width: int) -> Table:
    """Makes the table of a grid; intervals stand under speedups if there is no room beside."""
    headings, lines = _turned(grid, width)
    wide = NAME_WIDTH + CELL_WIDTH * len(headings) <= width
    table = Table("", *headings, title=grid.title, title_justify="left",
                  title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
    if len(lines) > LINES_AT_MOST:
        table.caption = f"{len(lines) - LINES_AT_MOST} more lines are in the page below"
    for name, cells in lines[:LINES_AT_MOST]:
        shown = (_shown(cell, wide) for cell in cells)
        table.add_row(name if wide else name.replace("/", "/\n"), *shown)
    return table


def _turned(grid: Grid, width: int) -> tuple[list[str], list[tuple[str, list[Cell | None]]]]:
    """Headings and lines: ways across and frameworks down, or turned if ways are too many."""
    ways, lines = grid.strategies, grid.lines
    if NARROW_WIDTH * (1 + len(ways)) <= width or len(lines) >= len(ways):
        return ways, lines
    cells = zip(*(own for _, own in lines), strict=True)
    return [name for name, _ in lines], [(way, list(own))
                                         for way, own in zip(ways, cells, strict=True)]


def _shown(cell: Cell | None, wide: bool) -> Text:
    if cell is None:
        return Text("")
    if cell.status != "ok":
        return Text(cell.status, style="dim" if cell.status == "unsupported" else "red")
    lines = [cell.speedup_text, *cell.why.split(" · ")]
    if not wide:
        short = cell.why.replace("exposed", "exp").replace(" · ", " ")
        lines = [cell.speedup_text.replace(" [", "\n["), short]
    if cell.unranked:
        lines.append("not ranked")
    text = Text(f"{cell.step}{' *' if cell.best else ''}",
                style="bold green" if cell.best else "")
    for line in filter(None, lines):
        text.append(f"\n{line}", style="not bold")
    return text


def details_table(rows: list[Row]) -> Table:
    """Makes a table with a line for each case that ran."""
    table = Table("case", "step", "speedup", *(BY_NAME[name].label for name in DETAILS))
    for column in table.columns[1:]:
        column.no_wrap = True
        column.justify = "right"
    name = names_in(rows)
    for row in (row for row in rows if row.status == "ok"):
        shown = (BY_NAME[key].show(row.value(key)) for key in DETAILS)
        table.add_row(name(row), BY_NAME["step_time_s"].show(row.step_time_s), speedup_text(row),
                      *shown)
    return table
