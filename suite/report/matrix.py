"""Arranges rows as a reader sees them first: a grid for each workload and number of devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from suite.analysis.contenders import Ranking, rank
from suite.analysis.verdict import NOT_COMPARABLE
from suite.contract.metrics import BY_NAME
from suite.contract.row import Row
from suite.contract.splits.strategies import COMBINED, STRATEGIES
from suite.report import axes
from suite.report.headline import Headline, headline, speedup_text
from suite.report.names import framework_name

# Lines of a matrix in the page. Nobody reads more, and a browser lays out each of their cells.
LINES_AT_ONCE = 100


@dataclass(frozen=True)
class Cell:
    """One case of a grid.

    Attributes:
        row: The case.
        status: Status of the case.
        step: Its step time, written.
        speedup: Its speedup; None if there is none.
        speedup_text: The speedup with its interval, written.
        why: Exposed T_comm and L, written.
        note: Its warnings, or why it did not run.
        best: Whether it has the lowest median step time of the grid.
        unranked: Why the case may not be compared with the best one; empty if it may.
    """

    row: Row
    status: str
    step: str
    speedup: float | None
    speedup_text: str
    why: str
    note: str
    best: bool
    unranked: str = ""


@dataclass(frozen=True)
class Grid:
    """Frameworks down, ways of splitting across, for one workload on a number of devices.

    Attributes:
        title: What all cases have in common.
        rows: The cases.
        ranking: How they compare; None if none has finished.
        headline: The answer.
        strategies: Names of the columns.
        lines: Name of a framework, and its cell in each column; None where there is no case.
    """

    title: str
    rows: list[Row]
    ranking: Ranking | None
    headline: Headline
    strategies: list[str]
    lines: list[tuple[str, list[Cell | None]]]

    @property
    def verdict(self) -> str:
        """The answer in words, as one text."""
        return str(self.headline)

    @property
    def first_lines(self) -> list[tuple[str, list[Cell | None]]]:
        """The lines that the page shows: of very many the first, and the one with the best case."""
        first, rest = self.lines[:LINES_AT_ONCE], self.lines[LINES_AT_ONCE:]
        return first + [line for line in rest if any(cell and cell.best for cell in line[1])]

    @cached_property
    def slowest_s(self) -> float:
        """The longest step time of the grid's cells, in seconds."""
        return max(row.step_seconds for row in self.rows if row.status == "ok")


def build_grids(rows: list[Row]) -> list[Grid]:
    """Makes a grid for each combination of the axes, in the order of the rows."""
    several = axes.differing(rows)
    return [_grid(group, several) for group in axes.part(rows)]


def _grid(rows: list[Row], several: list[str]) -> Grid:
    order = {name: place for place, name in enumerate([*STRATEGIES, *COMBINED])}
    columns = sorted(dict.fromkeys(map(axes.column, rows)), key=lambda c: order[c.split(" ")[0]])
    ranking = rank(rows)
    held = {(framework_name(row), axes.column(row)): row for row in rows}
    refused = {
        row.case_id: comparison.reason for row, comparison in (ranking.compared if ranking else [])
        if comparison.verdict == NOT_COMPARABLE
    }
    lines = [
        (name, [_cell(held.get((name, column)), ranking, refused) for column in columns])
        for name in dict.fromkeys(framework_name(row) for row in rows)
    ]
    return Grid(axes.title(rows, several), rows, ranking, headline(ranking), columns, lines)


def _cell(row: Row | None, ranking: Ranking | None, refused: dict[str, str]) -> Cell | None:
    if row is None:
        return None
    if row.status != "ok":
        return Cell(
            row=row, status=row.status, step="", speedup=None, speedup_text="", why="",
            note=row.reason, best=False,
        )
    note = "; ".join(dict.fromkeys(warning.code.replace("_", " ") for warning in row.warnings))
    # A base is not compared with itself: 1.00× would say nothing.
    text = "" if row.strategy == "single" else speedup_text(row)
    return Cell(
        row=row, status="ok", step=BY_NAME["step_time_s"].show(row.step_time_s),
        speedup=row.speedup, speedup_text=text,
        why=_why(row), note=note, best=ranking is not None and row is ranking.best,
        unranked=refused.get(row.case_id, ""),
    )


def _why(row: Row) -> str:
    share = exposed_share(row)
    parts = [] if share is None else [f"exposed {100 * share:.0f} %"]
    if row.devices > 1 and row.load_balance is not None:
        parts.append(f"L {row.load_balance:.2f}")
    return " · ".join(parts)


def exposed_share(row: Row) -> float | None:
    """Returns exposed T_comm over the step in which it was measured; None if it was not."""
    exposed, length = row.t_comm_exposed_s, row.clocked_step_s
    return None if exposed is None or not length else exposed / length
