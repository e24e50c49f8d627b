"""How cases of one kind scale over the numbers of devices that a run asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from suite.analysis.contenders import rank
from suite.analysis.scaling import SerialShare, serial_share
from suite.contract.case import WEAK
from suite.contract.row import Row
from suite.report import axes
from suite.report.headline import Headline, efficiency_text, headline, speedup_text
from suite.report.matrix import Grid
from suite.report.names import case_name, framework_name

# What stands under the table; by whether the batch grows with the devices.
CAPTIONS = {
    False: "Speedup over one device; below it the efficiency, speedup / devices.",
    True: "How many times as many samples a second as one device with its own batch; below it the "
          "efficiency, step of one device / step.",
}


@dataclass(frozen=True)
class Series:
    """One way of splitting in one framework, on every number of devices.

    Attributes:
        framework: Name of the framework, with its engine.
        column: Name of the way of splitting.
        rows: The rows that have a speedup.
        left_out: Number of devices to why its case has no speedup.
        serial: The serial share that fits the speedups; None without any.
    """

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
    """One workload on several numbers of devices.

    Attributes:
        title: What all cases have in common.
        family: Their values on all axes but the number of devices.
        weak: Whether the batch grows with the devices.
        counts: The numbers of devices.
        hosts: On how many hosts each of these is.
        headline: The answer over all of them.
        best_devices: The number of devices to show first; 0 if no split has finished.
        series: Each way of splitting in each framework.
    """

    title: str
    family: tuple[Any, ...]
    weak: bool
    counts: list[int]
    hosts: list[int]
    headline: Headline
    best_devices: int
    series: list[Series]


def build_scalings(rows: Sequence[Row]) -> list[Scaling]:
    """Makes one for each workload that the run has on several numbers of devices."""
    scalings = (build_scaling(group) for group in axes.families(rows))
    return [scaling for scaling in scalings if scaling]


@dataclass(frozen=True)
class Answer:
    """The answer for one workload and its settings.

    Attributes:
        title: The workload and its settings.
        headline: The answer.
        grids: The grid of each number of devices, if there are several.
    """

    title: str
    headline: Headline
    grids: list[Grid]


def build_answers(grids: Sequence[Grid], scalings: Sequence[Scaling]) -> list[Answer]:
    """Makes one answer for each workload and its settings, over all numbers of devices.

    Args:
        grids: Grids of the run; the answers have their order.
        scalings: Those of the run.
    """
    known = {scaling.family: scaling for scaling in scalings}
    answers: dict[tuple[Any, ...], Answer] = {}
    for grid in grids:
        family = axes.family(grid.rows)
        if family not in known:
            answers[family] = Answer(grid.title, grid.headline, [])
            continue
        whole = known[family]
        answers.setdefault(family, Answer(whole.title, whole.headline, [])).grids.append(grid)
    return list(answers.values())


def build_scaling(rows: Sequence[Row]) -> Scaling | None:
    """Arranges rows that are equal in every axis but the number of devices.

    Returns:
        The arrangement; None if the rows are on one number of devices.
    """
    split = [row for row in rows if row.strategy != "single"]
    counts = sorted({row.devices for row in split})
    if len(counts) < 2:
        return None
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(split, key=lambda row: int(row.devices)):
        groups.setdefault((framework_name(row), axes.column(row)), []).append(row)
    series = [_series(*key, group) for key, group in groups.items()]
    fastest, weak = _fastest_count(rows), split[0].scaling == WEAK
    hosts = [max(row.hosts for row in split if row.devices == count) for count in counts]
    return Scaling(
        title=_title(rows, counts, weak), family=axes.family(rows), weak=weak, counts=counts,
        hosts=hosts, headline=_overall(rows), best_devices=fastest, series=series,
    )


def _title(rows: Sequence[Row], counts: Sequence[int], weak: bool) -> str:
    heads = axes.title(rows).split(", ")[:-1]
    shown = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]} {rows[0].device} devices"
    if (most := max(row.hosts for row in rows)) > 1:
        shown += f" on up to {most} hosts"
    if weak:
        batch = f"batch {rows[0].base_batch} a device"
        return ", ".join([heads[0], batch, *heads[2:], shown, "weak scaling"])
    return ", ".join([*heads, shown])


def _series(framework: str, column: str, rows: list[Row]) -> Series:
    left_out = {row.devices: _why_not(row) for row in rows if not row.speedup}
    return Series(framework, column, [row for row in rows if row.speedup], left_out,
                  serial_share(rows))


def _why_not(row: Row) -> str:
    if row.status != "ok":
        return str(row.status)
    reasons = {warning.code for warning in row.warnings} & {"oversubscribed", "not_comparable"}
    return min(reasons).replace("_", " ") if reasons else "no base"


def _overall(rows: Sequence[Row]) -> Headline:
    """Writes the answer over all numbers of devices, which the names of cases then include."""
    best = rank(rows)
    answer = headline(best, _with_devices)
    mine = [] if best is None else [row for row in rows if case_name(row) == case_name(best.best)]
    share = serial_share(mine)
    if share is None:
        return answer
    serial = f"By {share.law}'s law its serial share is {said(share)}."
    return replace(answer, support=(*answer.support, serial))


def _fastest_count(rows: Sequence[Row]) -> int:
    """Returns the number of devices of the fastest split, which is shown first."""
    timed = [row for row in rows if row.status == "ok" and row.strategy != "single"]
    fastest = min(timed, key=lambda row: row.step_seconds / row.work, default=None)
    return int(fastest.devices) if fastest else 0


def _with_devices(row: Row) -> str:
    if row.strategy == "single":
        return case_name(row)
    return f"{case_name(row)} on {axes.AXES['devices'](row.devices)}"


def said(share: SerialShare) -> str:
    """Writes a serial share with its interval: ``4.1 % [3.2, 5.0]``."""
    interval = "" if share.low is None or share.high is None else (
        f" [{100 * share.low:.1f}, {100 * share.high:.1f}]")
    return f"{100 * share.share:.1f} %{interval}"


def scaling_table(scaling: Scaling, width: int) -> Table:
    """Makes a table of each series' speedups, with the efficiency below, and serial share.

    Args:
        scaling: The scaling.
        width: Width of the terminal in characters.
    """
    columns = len(scaling.counts) + 1
    wide, room = 38 + 20 * columns <= width, 20 + 15 * columns <= width
    heads = [f"{count}\n{axes.on_hosts(hosts).strip()}".strip()
             for count, hosts in zip(scaling.counts, scaling.hosts, strict=True)]
    table = Table("devices", *heads, "serial share", box=SIMPLE_HEAD,
                  title=f"Scaling: {scaling.title}", title_justify="left", title_style="bold",
                  padding=(0, 1), caption=CAPTIONS[scaling.weak], caption_justify="left")
    table.columns[0].min_width = 12
    for series in scaling.series:
        by_count = {row.devices: f"{speedup_text(row)}\n{efficiency_text(row)}"
                    for row in series.rows} | series.left_out
        cells = [by_count.get(count, "") for count in scaling.counts]
        cells.append(said(series.serial) if series.serial else "")
        name = series.name if wide else series.name.replace("/", "/\n")
        table.add_row(Text(name), *(Text(_narrowed(cell, wide, room)) for cell in cells))
    return table


def _narrowed(text: str, wide: bool, room: bool) -> str:
    """Puts an interval under its figure, or drops it, if there is no room beside the figure.

    A case that was left out then has a dash, since its reason is listed below the tables.
    """
    if wide:
        return text
    speedup, _, efficiency = text.partition("\n")
    efficiency = efficiency.partition(" [")[0]
    if room:
        return "\n".join(filter(None, (speedup.replace(" [", "\n["), efficiency)))
    return f"{speedup.partition(' [')[0]}\n{efficiency}" if text[:1].isdigit() else "-"
