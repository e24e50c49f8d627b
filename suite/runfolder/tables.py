"""Reads the tables of a run folder that readers compute with: links, their fits, the frontier."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from suite.analysis.link_fit import LinkFit
from suite.contract.errors import UsageError
from suite.contract.files import TableRow
from suite.contract.records import FrontierProbe
from suite.runfolder.validated import RESTORE, checked, read_table

# The figures of a sample that a curve is drawn from.
LINK_FIGURES = ("bytes", "repetition", "rank", "start_s", "end_s")
LARGEST_FIGURE = 1e30


def read_links(folder: Path) -> tuple[list[TableRow], list[LinkFit]]:
    """Reads ``link.csv`` and ``link_fit.csv``; both are empty if the run measured no links.

    Raises:
        UsageError: If one of them is no such table.
    """
    path = folder / "link.csv"
    rows = read_table(path, ["framework", "engine", "collective", *LINK_FIGURES])
    samples = [{name: _figure(path, name, text) for name, text in row.items()} for row in rows]
    return samples, read_fits(folder)


def _figure(path: Path, name: str, text: str) -> Any:
    """Returns a cell as the number that was written; as text where that may be one."""
    figure = _number(text)
    if figure is None and name in LINK_FIGURES:
        raise UsageError(f"{path}: {name}", text, "a finite number", RESTORE)
    return text if figure is None else figure


@lru_cache(maxsize=1 << 14)
def _number(text: str) -> int | float | None:
    """Returns a finite number of a bounded size; None for other texts. Most cells repeat."""
    for kind in (float,) if "." in text else (int, float):
        try:
            figure = kind(text)
        except ValueError:
            continue
        if math.isfinite(figure) and abs(figure) < LARGEST_FIGURE:
            return figure
    return None


def read_fits(folder: Path) -> list[LinkFit]:
    """Reads ``link_fit.csv``; returns nothing if the run measured no links."""
    path = folder / "link_fit.csv"
    rows = read_table(path, ["framework", "engine", "collective", "backend", "transport"])
    return checked(path, "row ", list[LinkFit], [
        {name: value for name, value in row.items() if value != ""}
        | {"backend": row["backend"], "transport": row["transport"]} for row in rows
    ])


def read_probes(folder: Path) -> list[FrontierProbe]:
    """Reads ``frontier.csv``; returns nothing if the run searched no largest batch."""
    path = folder / "frontier.csv"
    return checked(path, "row ", list[FrontierProbe], [
        {name: value or None for name, value in row.items()} | {"reason": row["reason"]}
        for row in read_table(path, ["case_id", "batch", "status", "reason"])
    ])
