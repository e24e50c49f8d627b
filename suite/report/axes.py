"""Which columns part a run into matrices, and how a reader is told of them.

A column that is added to ``AXES`` parts the matrices, is named in titles, names and the table where
the run has several of its values, and stands once in the run's heading where it has one. A column
that is added to ``COLUMNS`` makes a column of a matrix instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from suite.contract.row import Row
from suite.contract.splits.mesh import mesh_shape

# Column of results.csv -> how a value is said.
AXES: dict[str, Callable[[Any], str]] = {
    "workload": str,
    "size": str,
    "global_batch": "global batch {}".format,
    "data": "{} data".format,
    "device": str,
    "dtype": str,
    "mode": str,
    "accumulate": lambda parts: f"{parts} micro-batches accumulated" if parts > 1 else "",
    "recompute": lambda what: f"{what} recomputed" if what != "none" else "",
    "devices": lambda count: f"{count} device{'s' if count != 1 else ''}",
}
# What parts the columns of one matrix; its lines are framework and engine.
COLUMNS = ("strategy", "mesh", "variant", "balance")
# A matrix's own title says these, whether or not the run has another value.
ALWAYS = ("workload", "size", "global_batch", "devices", "device")


def part(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that answer one question, in the order given: equal in every axis.

    Single devices are the bases of every number of devices and stand beside each.
    """
    found = []
    for group in families(rows):
        counts = sorted({row.devices for row in group if row.strategy != "single"})
        found += [
            [r for r in group if r.strategy == "single" or r.devices == count]
            for count in counts
        ] or [group]
    return found


def families(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows equal in every axis but the number of devices, in the order given."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(family(row), []).append(row)
    return list(alike.values())


def family(row: Row) -> tuple[Any, ...]:
    """What a row has on each axis but the number of devices."""
    return tuple(row.value(name) for name in AXES if name != "devices")


def differing(rows: Sequence[Row]) -> list[str]:
    """Axes that tell these rows apart; one that follows from those before it is left out.

    A single device differs from no number of devices.
    """
    found: list[str] = []
    groups: list[Sequence[Row]] = [rows]
    for name in AXES:
        split = [_by(name, group) for group in groups]
        if any(len(parts) > 1 for parts in split):
            found.append(name)
            groups = [group for parts in split for group in parts]
    return found


def _by(name: str, rows: Sequence[Row]) -> list[list[Row]]:
    parts: dict[Any, list[Row]] = {}
    value = attrgetter(name)
    for row in rows:
        if name != "devices" or row.strategy != "single":
            parts.setdefault(value(row), []).append(row)
    return list(parts.values())


def column(row: Row) -> str:
    """``inter_layer gpipe``, ``data+intra_layer 2x2``: a row's place within its line."""
    shown = {name: str(row.value(name)) for name in COLUMNS if row.value(name)}
    if "mesh" in shown:
        shown["mesh"] = mesh_shape(shown["mesh"])
    return " ".join(shown.values())


def title(rows: Sequence[Row], also: Iterable[str] = ()) -> str:
    """Of one matrix: what it always says, and the axes that differ within the run."""
    first = max(rows, key=lambda row: int(row.devices))
    heads = [f"{first.workload} {first.size}", AXES["global_batch"](first.global_batch),
             AXES["devices"](first.devices).replace(" ", f" {first.device} ")]
    rest = [say(name, first) for name in also if name not in ALWAYS]
    return ", ".join(text for text in heads + rest if text)


def common(rows: Sequence[Row]) -> list[str]:
    """What all rows share and no title says, for the heading of the run."""
    if not rows:
        return []
    several = differing(rows)
    names = [name for name in AXES if name not in ALWAYS and name not in several]
    return [text for text in (say(name, rows[0]) for name in names) if text]


def say(name: str, row: Row) -> str:
    """A row's value on an axis, as in a title; empty where it has none."""
    value = row.value(name)
    return "" if value in (None, "") else AXES[name](value)
