"""What readers call a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from suite.contract.registry import label
from suite.contract.row import Row
from suite.report.axes import column, differing, say


def framework_name(row: Row) -> str:
    """Names the framework and engine of a row."""
    return label(row.framework, row.engine)


def case_name(row: Row) -> str:
    """Names a case, such as ``pytorch inter_layer gpipe``."""
    return f"{framework_name(row)} {column(row)}"


def names_in(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Returns a function that names each of these rows such that readers can tell them apart.

    The name is the case's, with the axes on which the rows differ.
    """
    several = differing(rows)
    shown = [name for name in several if name not in ("workload", "size")]
    works = len(shown) < len(several)

    def name(row: Row) -> str:
        parts = [f"{row.workload} {row.size}"] * works
        parts += [f"x{row.devices}" if axis == "devices" else say(axis, row) for axis in shown
                  if axis != "devices" or row.strategy != "single"]
        own = ", ".join(filter(None, parts))
        return f"{case_name(row)} ({own})" if own else case_name(row)

    return name


def listed(names: list[str], total: int = -1, most: int = 8) -> str:
    """Writes each name once, and few enough to read.

    Args:
        names: The names.
        total: How many names would be all of them, which is then said instead.
        most: How many names are written; further ones are only counted.
    """
    unique = list(dict.fromkeys(names))
    if len(names) == total and total > 1:
        return "all cases"
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return f"{', '.join(unique[:most])}{more}"
