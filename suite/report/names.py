"""What rows are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def framework_name(row: Row) -> str:
    return f"horovod/{row['engine']}" if row["framework"] == "horovod" else str(row["framework"])


def case_name(row: Row) -> str:
    """``pytorch inter_layer gpipe``."""
    return " ".join(part for part in (framework_name(row), row["strategy"], row["variant"]) if part)


def names_in(rows: Sequence[Row]) -> Callable[[Row], str]:
    """How to tell these rows apart: with workload and devices where there are several."""
    works = len({(row["workload"], row["size"]) for row in rows}) > 1
    kinds = [name for name in ("dtype", "mode") if len({row.get(name) for row in rows}) > 1]
    counts = len({row["devices"] for row in rows if row["strategy"] != "single"}) > 1

    def name(row: Row) -> str:
        parts = [f"{row['workload']} {row['size']}"] * works + [f"x{row['devices']}"] * counts
        parts += [str(row[kind]) for kind in kinds]
        return " ".join((case_name(row), f"({', '.join(parts)})")) if parts else case_name(row)

    return name


def listed(names: list[str], total: int = -1, most: int = 8) -> str:
    """Names once each, few enough to read; ``total`` names are all of them."""
    unique = list(dict.fromkeys(names))
    if len(names) == total and total > 1:
        return "all cases"
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return f"{', '.join(unique[:most])}{more}"
