"""What rows are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from suite.contract.registry import label
from suite.contract.row import Row
from suite.report.axes import column, differing, say


def framework_name(row: Row) -> str:
    """What readers call the framework and engine of a row."""
    return label(row.framework, row.engine)


def case_name(row: Row) -> str:
    """``pytorch inter_layer gpipe``."""
    return f"{framework_name(row)} {column(row)}"


def names_in(rows: Sequence[Row]) -> Callable[[Row], str]:
    """How to tell these rows apart: a case's name, and the axes on which they differ."""
    several = differing(rows)
    shown = [name for name in several if name not in ("workload", "size")]
    works = len(shown) < len(several)

    def name(row: Row) -> str:
        parts = [f"{row.workload} {row.size}"] * works
        parts += [f"x{row.devices}" if one == "devices" else say(one, row) for one in shown
                  if one != "devices" or row.strategy != "single"]
        own = ", ".join(filter(None, parts))
        return f"{case_name(row)} ({own})" if own else case_name(row)

    return name


def listed(names: list[str], total: int = -1, most: int = 8) -> str:
    """Names once each, few enough to read; ``total`` names are all of them."""
    unique = list(dict.fromkeys(names))
    if len(names) == total and total > 1:
        return "all cases"
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return f"{', '.join(unique[:most])}{more}"
