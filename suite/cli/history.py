"""``python -m suite history``: shows each case over all runs of a folder."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table

from suite.analysis.comparison import MACHINE, compare_row
from suite.analysis.ledger import MUST_EQUAL
from suite.analysis.statistics import LEVEL
from suite.analysis.trend import change_points
from suite.cli.console import printer
from suite.contract.errors import UsageError
from suite.contract.metrics import BY_NAME
from suite.contract.row import Row
from suite.report.compared import page, plain
from suite.runfolder.files import write_output
from suite.runfolder.reading import read_run

HEAD = ("time", "run", "step time", "interval", "against the run before", "what changed")


@dataclass(frozen=True)
class Point:
    """What one run says of a case.

    ``verdict`` and ``change`` (new over old step time) compare it with the point before, and
    ``new_level`` says that the case's level changed at this run.
    """

    run_id: str
    time: str
    step_time_s: float
    low_s: float | None
    high_s: float | None
    verdict: str
    change: float
    versions: tuple[str, ...]
    new_level: bool


@dataclass(frozen=True)
class Series:
    """The points of one case that may be compared: on one machine, with equal settings."""

    case_id: str
    settings: str
    points: list[Point]


def history(folder: Path, as_json: bool, html: Path | None) -> int:
    """Prints a table for each case, with the oldest run first.

    Args:
        folder: A folder of run folders.
        as_json: Whether to print JSON instead of tables.
        html: A file to write as a page, if any.

    Returns:
        The exit code, always 0.

    Raises:
        UsageError: If the folder holds no run.
    """
    runs = sorted(_runs(folder), key=lambda run: run[0])
    if not runs:
        raise UsageError("history", str(folder), "a folder with runs", "name one, as in --out")
    all_series = build_series(runs)
    if html:
        parts = [([series.case_id, series.settings], HEAD, [_cells(p) for p in series.points])
                 for series in all_series]
        write_output("--html", html, page(f"History of {folder}", parts))
    if as_json:
        print(json.dumps([asdict(series) | {"points": [plain(asdict(p)) for p in series.points]}
                          for series in all_series], indent=1))
        return 0
    _show(all_series)
    return 0


def _runs(folder: Path) -> Iterator[tuple[str, dict[str, Any], list[Row]]]:
    """Yields start time, ``run.json`` and rows of every run directly under ``folder``."""
    for file in sorted(folder.glob("*/run.json")):
        try:
            stored = read_run(file.parent)
        except UsageError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield _began(stored.run, file), stored.run, stored.rows()


def _began(run: dict[str, Any], file: Path) -> str:
    """Returns when a run started, as UTC in ISO 8601, so that runs of several time zones can be
    sorted.

    Early versions recorded the start only in the run's name, in local time.
    """
    try:
        if "started" in run:
            began = datetime.strptime(run["started"], "%Y-%m-%dT%H:%M:%S%z")
        else:
            began = datetime.strptime(run["run_id"][:15], "%Y%m%d-%H%M%S")
    except ValueError:
        began = datetime.fromtimestamp(file.stat().st_mtime)
    return began.astimezone(timezone.utc).isoformat(timespec="seconds")


def build_series(runs: list[tuple[str, dict[str, Any], list[Row]]]) -> list[Series]:
    """Sorts the rows of all runs into series.

    Runs with other versions of the software stay in the same series, because the effect of a new
    version is what a reader looks for.

    Args:
        runs: Start time, ``run.json`` and rows of each run, the oldest first.
    """
    groups: dict[tuple[str, str], list[tuple[str, dict[str, Any], Row]]] = {}
    for when, run, rows in runs:
        for row in rows:
            if row.status == "ok" and row.repeats:
                key = (row.case_id, _settings(run, row))
                groups.setdefault(key, []).append((when, run, row))
    return [Series(*key, _points(members)) for key, members in sorted(groups.items())]


def _settings(run: dict[str, Any], row: Row) -> str:
    machine = run.get("environment", {})
    parts = [f"{name} {row.ledger.get(name, 'not recorded')}" for name in MUST_EQUAL]
    return "; ".join(parts + [f"{name} {machine.get(name)}" for name in MACHINE])


def _points(members: list[tuple[str, dict[str, Any], Row]]) -> list[Point]:
    # All verdicts of a series hold together at 95 %, as they do when runs are compared.
    level = 1 - (1 - LEVEL) / max(1, len(members) - 1)
    levels = set(change_points([row.step_seconds for _, _, row in members]))
    points = []
    before: tuple[dict[str, Any], Row] | None = None
    for number, (when, run, row) in enumerate(members):
        verdict, change = "", math.nan
        if before:
            found = compare_row(before[1], row, "step_time", level)
            verdict, change = found.verdict, found.change
        points.append(Point(
            run_id=row.run_id, time=when, step_time_s=row.step_seconds,
            low_s=row.step_time_ci_low_s, high_s=row.step_time_ci_high_s, verdict=verdict,
            change=change,
            versions=_versions(before[0] if before else run, run), new_level=number in levels,
        ))
        before = run, row
    return points


def _versions(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    was, now = (run.get("environment", {}).get("versions", {}) for run in (old, new))
    return tuple(f"{name} {was.get(name) or 'none'} -> {now[name] or 'none'}"
                 for name in now if was.get(name) != now[name])


def _cells(point: Point) -> tuple[str, ...]:
    show = BY_NAME["step_time_s"].show
    low, high = show(point.low_s), show(point.high_s)
    interval = f"[{low}, {high}]" if low else ""
    against = "" if math.isnan(point.change) else f"{point.verdict} {point.change - 1:+.1%}".strip()
    notes = (["a new level begins"] if point.new_level else []) + list(point.versions)
    return (point.time, point.run_id, show(point.step_time_s), interval, against, "; ".join(notes))


def _show(all_series: list[Series]) -> None:
    console = printer()
    counts = Counter(series.case_id for series in all_series)
    for series in all_series:
        title = series.case_id + (f" ({series.settings})" if counts[series.case_id] > 1 else "")
        table = Table(*HEAD, title=title, title_justify="left")
        for point in series.points:
            table.add_row(*_cells(point))
        console.print(table)
