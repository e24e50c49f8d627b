"""The memory frontier for readers: a line for each case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from suite.analysis.memory_frontier import OK
from suite.contract.metrics import BY_NAME
from suite.contract.row import Row
from suite.report.names import names_in

SHOWN = ("max_batch", "max_batch_memory_bytes", "memory_limit_bytes",
         "max_batch_throughput_samples_s", "failed_batch", "failed_batch_reason")


def frontier_rows(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows whose frontier was searched, the largest batch first."""
    searched = [row for row in rows if row.frontier]
    return sorted(searched, key=lambda row: -(row.max_batch or 0))


def frontier_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Returns for each such row its name and the columns of ``SHOWN``, as a reader sees them."""
    name = names_in(rows)
    return [
        [name(row), *(BY_NAME[key].show(row.value(key)) for key in SHOWN)]
        for row in frontier_rows(rows)
    ]


def headings() -> list[str]:
    """Returns the heads of the table."""
    return ["case", *(BY_NAME[key].label for key in SHOWN)]


def frontier_table(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Yields the table; nothing if no frontier was searched."""
    lines = frontier_lines(rows)
    if not lines:
        return
    table = Table(*headings(), title="Memory frontier: the largest global batch that fits",
                  title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in table.columns[1:-1]:
        column.justify, column.no_wrap = "right", True
    for line in lines:
        table.add_row(*line)
    yield table


def frontier_series(row: Row) -> list[tuple[int, int | None, int | None, bool, str]]:
    """Returns the probes of a case in the order of their batches.

    Returns:
        (batch, peak bytes, limit bytes, whether it fits, why not) of each probe.
    """
    probes = sorted(row.frontier, key=lambda probe: probe.batch)
    return [
        (p.batch, p.peak_memory_bytes, p.limit_bytes, p.status == OK,
         "" if p.status == OK else f"{p.status}: {p.reason}")
        for p in probes
    ]
