"""How cases scale over the numbers of hosts that a run had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from suite.contract.case import WEAK
from suite.contract.formats import bounds, percent, times
from suite.contract.row import Row
from suite.report import axes
from suite.report.names import framework_name

EFFICIENCY = "below it the efficiency: that, divided by how many times as many devices there are."
# What stands under the table; by whether the batch grows with the devices.
CAPTIONS = {
    False: f"Speedup over the fewest hosts; {EFFICIENCY}",
    True: f"How many times as many samples a second as on the fewest hosts; {EFFICIENCY}",
}


@dataclass(frozen=True)
class HostLine:
    """A way of splitting in one framework, on every number of hosts.

    Attributes:
        name: What readers call it.
        base: Its row on the fewest hosts.
        rows: Number of hosts to its row there, with the most devices.
    """

    name: str
    base: Row
    rows: dict[int, Row]

    def cell(self, hosts: int) -> str:
        """Writes speedup and, below, efficiency; what the base is, or nothing without a row."""
        if hosts == self.base.hosts:
            return f"base\n{_devices(self.base)}"
        row = self.rows.get(hosts)
        if row is None:
            return ""
        return f"{host_speedup_text(row)}\n{host_efficiency_text(row)} on {_devices(row)}"


@dataclass(frozen=True)
class HostScaling:
    """One workload on several numbers of hosts.

    Attributes:
        title: What all cases have in common.
        weak: Whether the batch grows with the devices.
        hosts: The numbers of hosts.
        lines: Each way of splitting that has a speedup of hosts.
    """

    title: str
    weak: bool
    hosts: list[int]
    lines: list[HostLine]


def build_host_scalings(rows: Sequence[Row]) -> list[HostScaling]:
    """Makes one for each workload whose cases were on several numbers of hosts."""
    if all(row.host_speedup is None for row in rows):
        return []
    found = (_host_scaling(group) for group in axes.families(rows))
    return [scaling for scaling in found if scaling.lines]


def _host_scaling(rows: Sequence[Row]) -> HostScaling:
    by_id = {row.case_id: row for row in rows}
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if row.host_speedup is not None:
            grouped.setdefault(row.host_base_case_id, []).append(row)
    lines = [_line(by_id[base], group) for base, group in grouped.items()]
    hosts = {line.base.hosts for line in lines} | {host for line in lines for host in line.rows}
    weak = rows[-1].scaling == WEAK
    return HostScaling(_title(rows, weak), weak, sorted(hosts), lines)


def _title(rows: Sequence[Row], weak: bool) -> str:
    workload, batch = axes.title(rows).split(", ")[:2]
    if weak:
        batch = f"batch {rows[0].base_batch} a device, weak scaling"
    return f"{workload}, {batch}"


def _line(base: Row, rows: Sequence[Row]) -> HostLine:
    fullest = {row.hosts: row for row in sorted(rows, key=lambda row: row.devices)}
    return HostLine(f"{framework_name(base)} {axes.column(base)}", base, fullest)


def _devices(row: Row) -> str:
    return axes.AXES["devices"](row.devices)


def host_speedup_text(row: Row) -> str:
    """Writes the speedup over the fewest hosts, with its interval if there is one."""
    if row.host_speedup is None:
        return ""
    return f"{times(row.host_speedup)}{bounds(row.host_speedup_ci_low, row.host_speedup_ci_high)}"


def host_efficiency_text(row: Row) -> str:
    """Writes how much of a linear speedup that is."""
    return "" if row.host_efficiency is None else percent(row.host_efficiency)


def host_table(scaling: HostScaling) -> Table:
    """Makes a table of each way of splitting's speedup over the fewest hosts."""
    table = Table("hosts", *map(str, scaling.hosts), title=f"Over hosts: {scaling.title}",
                  title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1),
                  caption=CAPTIONS[scaling.weak], caption_justify="left")
    for line in scaling.lines:
        table.add_row(Text(line.name), *(Text(line.cell(hosts)) for hosts in scaling.hosts))
    return table
