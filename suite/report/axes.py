"""The columns that divide a run into matrices, and how a reader is told about them.

A column of ``AXES`` divides the matrices. If a run has several of its values, the value stands in
titles, names and the table; if the run has one, it stands once in the run's heading. A column of
``COLUMNS`` makes the columns of a matrix instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from suite.contract.case import WEAK
from suite.contract.row import Row
from suite.contract.splits.mesh import mesh_shape

# Column of results.csv -> how a value of it is written for a reader.
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
    "padded": lambda to: f"padded to a multiple of {to}" if to else "",
    "scaling": lambda how: "weak scaling" if how == WEAK else "",
    "devices": lambda count: f"{count} device{'s' if count != 1 else ''}",
}
# These distinguish the columns of one matrix; its lines are framework and engine.
COLUMNS = ("strategy", "mesh", "variant", "balance", "transport", "cut")
# Of a run that chooses its way of splitting these are ways too: they make columns instead.
WAYS = ("accumulate", "recompute")
# These divide by a property of the row: batches that grew with the devices are one question.
DIVIDED_BY = {"global_batch": "base_batch"}
# A single device is the base on all values of these.
SHARED = ("scaling", "devices")
# The title of a matrix names these, even if the run has no other value.
ALWAYS = ("workload", "size", "global_batch", "devices", "device")


def part(rows: Sequence[Row]) -> list[list[Row]]:
    """Divides rows into groups that answer one question each: they are equal in every axis.

    A single device is the base for every number of devices, so it is in each of these groups.

    Args:
        rows: Rows of a run; their order is kept.
    """
    groups = []
    for alike in families(rows):
        counts = sorted({row.devices for row in alike if row.strategy != "single"})
        groups += [
            [row for row in alike if row.strategy == "single" or row.devices == count]
            for count in counts
        ] or [alike]
    return groups


def families(rows: Sequence[Row]) -> list[list[Row]]:
    """Divides rows into groups that are equal in every axis but the number of devices.

    A single device is in the group of each way of scaling.
    """
    values = list(map(_shared_values(rows), rows))
    scalings: dict[tuple[Any, ...], dict[str, None]] = {}
    for row, value in zip(rows, values, strict=True):
        if row.scaling:
            scalings.setdefault(value, {})[row.scaling] = None
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row, value in zip(rows, values, strict=True):
        for scaling in [row.scaling] if row.scaling else scalings.get(value, [""]):
            alike.setdefault((*value, scaling), []).append(row)
    return list(alike.values())


def family(rows: Sequence[Row]) -> tuple[Any, ...]:
    """Returns what the rows of one family have in common: all axes but the number of devices."""
    return *_shared_values(rows)(rows[0]), next((row.scaling for row in rows if row.scaling), "")


def _shared_values(rows: Sequence[Row]) -> Callable[[Row], tuple[Any, ...]]:
    """Returns a function that reads a row's values on the axes that a base has too."""
    names = (name for name in _dividing(rows) if name not in SHARED)
    return attrgetter(*(DIVIDED_BY.get(name, name) for name in names))


def _dividing(rows: Sequence[Row]) -> list[str]:
    """Returns the axes that divide these rows. All rows of a run that chooses say so."""
    chooses = bool(rows) and bool(rows[0].choice)
    return [name for name in AXES if not (chooses and name in WAYS)]


def differing(rows: Sequence[Row]) -> list[str]:
    """Returns the axes that tell these rows apart.

    An axis that follows from those before it is left out. A single device does not differ from
    others in the number of devices, nor in how they scale.
    """
    names: list[str] = []
    groups: list[Sequence[Row]] = [rows]
    for name in _dividing(rows):
        getter = attrgetter(DIVIDED_BY.get(name, name))
        if name not in SHARED and len(set(map(getter, rows))) < 2:
            continue  # of thousands of rows, most axes have one value
        split = [_by(name, group) for group in groups]
        if any(len(parts) > 1 for parts in split):
            names.append(name)
            groups = [group for parts in split for group in parts]
    return names


def _by(name: str, rows: Sequence[Row]) -> list[list[Row]]:
    parts: dict[Any, list[Row]] = {}
    value = attrgetter(DIVIDED_BY.get(name, name))
    for row in rows:
        if name not in SHARED or row.strategy != "single":
            parts.setdefault(value(row), []).append(row)
    return list(parts.values())


def column(row: Row) -> str:
    """Names a row's column in its matrix: ``inter_layer gpipe``, ``data+intra_layer 2x2``.

    Where a run chooses, micro-batches and recomputation are in the name.
    """
    shown = {name: str(row.value(name)) for name in COLUMNS if row.value(name)}
    if "mesh" in shown:
        shown["mesh"] = mesh_shape(shown["mesh"])
    ways = [say(name, row) for name in WAYS] if row.choice else []
    return " ".join([*shown.values(), *filter(None, ways)])


def on_hosts(hosts: int | None) -> str:
    """Writes on how many hosts devices are; nothing of a single one."""
    return f" on {hosts} hosts" if hosts and hosts > 1 else ""


def title(rows: Sequence[Row], also: Iterable[str] = ()) -> str:
    """Writes the title of a matrix.

    Args:
        rows: The rows of the matrix.
        also: Axes that differ within the run, which the title names too.
    """
    first = max(rows, key=_typical)
    devices = AXES["devices"](first.devices).replace(" ", f" {first.device} ")
    heads = [f"{first.workload} {first.size}", AXES["global_batch"](first.global_batch),
             devices + on_hosts(first.hosts)]
    rest = [say(name, first) for name in also if name not in ALWAYS]
    return ", ".join(text for text in heads + rest if text)


def common(rows: Sequence[Row]) -> list[str]:
    """Lists for the heading of the run what all rows share and no title names."""
    if not rows:
        return []
    several = differing(rows)
    names = [name for name in _dividing(rows) if name not in ALWAYS and name not in several]
    typical = max(rows, key=_typical)
    return [text for text in (say(name, typical) for name in names) if text]


def _typical(row: Row) -> tuple[int, bool]:
    """Orders rows such that the last has a value on every axis: a single device does not scale."""
    return int(row.devices), row.strategy != "single"


def say(name: str, row: Row) -> str:
    """Writes a row's value on an axis, as in a title; empty if it has none.

    Args:
        name: An axis, a key of ``AXES``.
        row: The row.
    """
    value = row.value(name)
    return "" if value in (None, "") else AXES[name](value)
