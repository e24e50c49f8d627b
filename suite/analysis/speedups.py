"""How many times as fast a row is as one device, and as the same split on fewer hosts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from suite.analysis.verdict import compare_cases
from suite.contract.row import Row
from suite.contract.splits.mesh import parse_mesh


def add_speedup(row: Row, base: Row | None) -> None:
    """Adds the speedup over a single device of the same framework and engine, paired by block.

    Args:
        row: A row with a step time.
        base: The single device; None if none has finished.
    """
    if base is None:
        return
    against = compare_cases(row, base)
    row.base_case_id, row.base_step_time_s = base.case_id, base.step_time_s
    row.verdict = "" if row is base else against.verdict
    if not math.isnan(against.ratio):
        row.speedup = against.ratio
        row.speedup_ci_low, row.speedup_ci_high = against.low, against.high
        row.efficiency = against.ratio / row.devices
        row.efficiency_ci_low = against.low / row.devices
        row.efficiency_ci_high = against.high / row.devices


def add_host_speedups(rows: Sequence[Row]) -> None:
    """Adds to each row on more hosts how many times as fast it is as on the fewest.

    Args:
        rows: The rows that may be compared by their number of devices.
    """
    if len({row.hosts for row in rows}) < 2:
        return
    series: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.strategy != "single":
            series.setdefault(host_series(row), []).append(row)
    for group in series.values():
        base = min(group, key=lambda row: (row.hosts, -row.devices))
        for row in group:
            if row.hosts > base.hosts:
                _add_host_speedup(row, base)


def _add_host_speedup(row: Row, base: Row) -> None:
    against = compare_cases(row, base)
    if not math.isnan(against.ratio):
        row.host_base_case_id, row.host_speedup = base.case_id, against.ratio
        row.host_speedup_ci_low, row.host_speedup_ci_high = against.low, against.high
        row.host_efficiency = against.ratio * base.devices / row.devices


def host_series(row: Row) -> tuple[Any, ...]:
    """Returns what a way of splitting has in common on any number of hosts.

    A mesh grows along its data axis.
    """
    sizes = parse_mesh(row.mesh) if row.mesh else {}
    return (row.framework, row.engine, row.strategy, row.variant, row.workload, row.size, row.dtype,
            row.mode, row.accumulate, row.recompute, row.padded, row.balance, row.scaling,
            row.base_batch, row.transport,
            *sorted((axis, size) for axis, size in sizes.items() if axis != "data"))
