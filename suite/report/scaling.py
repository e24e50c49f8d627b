"""Cases of one kind over the numbers of devices that a run asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from suite.analysis.contenders import rank
from suite.analysis.scaling import SerialShare, serial_share
from suite.contract.row import Row
from suite.report import axes
from suite.report.headline import Headline, headline, speedup_text
from suite.report.matrix import Grid
from suite.report.names import case_name, framework_name


@dataclass(frozen=True)
class Series:
    """A framework's split on every number of devices; ``rows`` have a speedup."""

    framework: str
    column: str
    rows: list[Row]
    left_out: dict[int, str]
    serial: SerialShare | None

    @property
    def name(self) -> str:
        """The name that readers see."""
        return f"{self.framework} {self.column}"


@dataclass(frozen=True)
class Scaling:
    """One workload on several numbers of devices: the answer over all of them, and the series."""

    title: str
    family: tuple[Any, ...]
    counts: list[int]
    headline: Headline
    best_devices: int
    series: list[Series]


def build_scalings(rows: Sequence[Row]) -> list[Scaling]:
    """One for each workload that the run has on several numbers of devices."""
    found = (build_scaling(group) for group in axes.families(rows))
    return [one for one in found if one]


@dataclass(frozen=True)
class Answer:
    """To one question; ``grids`` are those of each number of devices, where there are several."""

    title: str
    headline: Headline
    grids: list[Grid]


def build_answers(grids: Sequence[Grid], scalings: Sequence[Scaling]) -> list[Answer]:
    """One a workload and its settings, over all numbers of devices, in the order of the grids."""
    known = {one.family: one for one in scalings}
    found: dict[tuple[Any, ...], Answer] = {}
    for grid in grids:
        family = axes.family(grid.rows[0])
        if family not in known:
            found[family] = Answer(grid.title, grid.headline, [])
            continue
        whole = known[family]
        found.setdefault(family, Answer(whole.title, whole.headline, [])).grids.append(grid)
    return list(found.values())


def build_scaling(rows: Sequence[Row]) -> Scaling | None:
    """Of rows equal in every axis but devices; None where they are on one number of devices."""
    split = [row for row in rows if row.strategy != "single"]
    counts = sorted({row.devices for row in split})
    if len(counts) < 2:
        return None
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(split, key=lambda row: int(row.devices)):
        groups.setdefault((framework_name(row), axes.column(row)), []).append(row)
    series = [_series(*key, group) for key, group in groups.items()]
    shown = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]} {rows[0].device} devices"
    title = ", ".join([*axes.title(rows).split(", ")[:-1], shown])
    fastest = _fastest_count(rows)
    return Scaling(title, axes.family(rows[0]), counts, _overall(rows), fastest, series)


def _series(framework: str, column: str, rows: list[Row]) -> Series:
    left_out = {row.devices: _why_not(row) for row in rows if not row.speedup}
    return Series(framework, column, [row for row in rows if row.speedup], left_out,
                  serial_share(rows))


def _why_not(row: Row) -> str:
    if row.status != "ok":
        return str(row.status)
    found = {warning.code for warning in row.warnings} & {"oversubscribed", "not_comparable"}
    return min(found).replace("_", " ") if found else "no base"


def _overall(rows: Sequence[Row]) -> Headline:
    """Over all numbers of devices, which the name then has to say."""
    best = rank(rows)
    found = headline(best, _with_devices)
    mine = [] if best is None else [row for row in rows if case_name(row) == case_name(best.best)]
    share = serial_share(mine)
    if share is None:
        return found
    serial = f"Its serial share, Amdahl's, is {said(share)}."
    return replace(found, support=(*found.support, serial))


def _fastest_count(rows: Sequence[Row]) -> int:
    """The number of devices to show first."""
    timed = [row for row in rows if row.status == "ok" and row.strategy != "single"]
    fastest = min(timed, key=lambda row: row.step_seconds, default=None)
    return int(fastest.devices) if fastest else 0


def _with_devices(row: Row) -> str:
    if row.strategy == "single":
        return case_name(row)
    return f"{case_name(row)} on {axes.AXES['devices'](row.devices)}"


def said(share: SerialShare) -> str:
    """``4.1 % [3.2, 5.0]``."""
    interval = "" if share.low is None or share.high is None else (
        f" [{100 * share.low:.1f}, {100 * share.high:.1f}]")
    return f"{100 * share.share:.1f} %{interval}"


def scaling_table(found: Scaling, width: int) -> Table:
    """A line a series: speedup on each number of devices, and the serial share."""
    columns = len(found.counts) + 1
    wide, room = 38 + 20 * columns <= width, 20 + 15 * columns <= width
    table = Table("devices", *map(str, found.counts), "serial share", box=SIMPLE_HEAD,
                  title=f"Scaling: {found.title}", title_justify="left", title_style="bold",
                  padding=(0, 1))
    table.columns[0].min_width = 12
    for one in found.series:
        by_count = {row.devices: speedup_text(row) for row in one.rows} | one.left_out
        cells = [by_count.get(count, "") for count in found.counts]
        cells.append(said(one.serial) if one.serial else "")
        name = one.name if wide else one.name.replace("/", "/\n")
        table.add_row(Text(name), *(Text(_narrowed(cell, wide, room)) for cell in cells))
    return table


def _narrowed(text: str, wide: bool, room: bool) -> str:
    """An interval stands under its figure where it has no room beside it, or not at all.

    Why a case is left out stands with the reasons then.
    """
    if wide:
        return text
    if room:
        return text.replace(" [", "\n[")
    return text.partition(" [")[0] if text[:1].isdigit() else "-"
