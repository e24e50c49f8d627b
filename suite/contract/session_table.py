"""Finds the class that trains an axis of a case; every adapter looks its own table up here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any


def session_class(table: Mapping[str, str], axis: str) -> type[Any]:
    """Returns the class that splits training along one axis, and imports its module.

    Args:
        table: Axis of a mesh -> ``package.module:Class``.
        axis: Name of the axis, such as ``data``.

    Raises:
        ValueError: The table has no such axis. Training along another one would give a wrong row.
    """
    if axis not in table:
        known = ", ".join(table)
        raise ValueError(f"this adapter splits training along {known}, not along {axis!r}")
    module, _, name = table[axis].partition(":")
    session: type[Any] = getattr(importlib.import_module(module), name)
    return session


def combined_class(table: Mapping[str, str], axes: Iterable[str]) -> type[Any]:
    """Makes one class for all axes of a mesh: each base handles its axis and calls ``super()``.

    Args:
        table: Axis of a mesh -> ``package.module:Class``.
        axes: The mesh's axes, outermost first; at least one.

    Raises:
        ValueError: The table lacks one of them.
    """
    bases = tuple(session_class(table, axis) for axis in axes)
    return bases[0] if len(bases) == 1 else type("MeshSession", bases, {})
