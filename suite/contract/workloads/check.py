"""Checks a workload from outside the suite against the contract, before anything is launched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from suite.contract.errors import UsageError
from suite.contract.workloads.workload import Branch, Workload

LEAVES = ("weight", "depthwise", "table", "scale", "bias")
ENDS = {"first", "last"}


def check_workload(name: str, spec: object) -> None:
    """Checks that adapters and plans can work with a workload from outside the suite.

    Args:
        name: The name under which the user asked for it.
        spec: The object that was loaded.

    Raises:
        UsageError: It is not a workload, or breaks the contract; only the first fault is told.
    """
    if not isinstance(spec, Workload):
        raise UsageError(f"workload {name}", type(spec).__name__,
                         "a suite.contract.workloads.Workload or a list of them", "derive from it")
    for got, expected in _faults(spec):
        raise UsageError(f"workload {name}", got, expected, "correct its class")


def _faults(spec: Workload) -> Iterator[tuple[str, str]]:
    """Yields (what the workload says, what is expected) for every fault."""
    shapes, units = spec.shapes(), spec.units()
    for unit in units:
        if not re.fullmatch(r"[a-z]+\d+", unit):
            yield f"unit {unit!r}", "a word and its number, such as block0"
    numbers = [int(re.sub(r"\D", "", unit)) for unit in units]
    if numbers != list(range(len(units))):
        yield f"units {', '.join(units)}", "numbers from 0, in forward order"
    ends = spec.ends()
    for parameter in shapes:
        first, *_, leaf = parameter.split(".")
        if leaf not in LEAVES:
            yield f"parameter {parameter!r}", f"a last word of {', '.join(LEAVES)}"
        if first not in units and not {parameter, first} & set(ends):
            yield f"parameter {parameter!r}", "a parameter of a unit, or listed in ends()"
    for part, where in ends.items():
        if not where or not set(where) <= ENDS:
            yield f"ends() of {part!r}: {where}", "first, last or both"
    for branch in spec.branches():
        missing = [layer for layer in _split_layers(branch) if not _has(shapes, layer)]
        if missing:
            yield f"branch with {missing[0]!r}", "layers that shapes() has"
    for field in (spec.features, spec.targets):
        if field.classes and field.lowest >= field.classes:
            yield f"values from {field.lowest} to {field.classes - 1}", "a range of whole numbers"


def _split_layers(branch: Branch) -> list[str]:
    """Lists the layers of a branch that are sharded."""
    middle = [branch.middle.row, branch.middle.column] if branch.middle else []
    return [*branch.columns, *branch.channels, *middle, branch.row]


def _has(shapes: dict[str, tuple[int, ...]], layer: str) -> bool:
    """Tells whether the layer has any parameter."""
    return any(name.rpartition(".")[0] == layer for name in shapes)
