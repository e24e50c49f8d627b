"""The comparison table."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def comparison_table(rows: list[dict[str, Any]]) -> Table:
    """One line a case; a cell that did not run shows its status and reason."""
    table = Table("framework", "strategy", "workload", "step", "speedup", "L", "parity")
    for row in rows:
        name = row["framework"] + ("/" + row["engine"] if row["framework"] == "horovod" else "")
        lead = (name, row["strategy"], f"{row['workload']} {row['size']}")
        if row["status"] != "ok":
            table.add_row(*lead, row["status"], row["reason"], "", row["parity"])
            continue
        table.add_row(*lead, f"{row['step_time_s'] * 1e3:.2f} ms", _speedup(row),
                      _number(row.get("load_balance")), row["parity"])
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _speedup(row: dict[str, Any]) -> str:
    if row.get("speedup") is None:
        return ""
    low, high = row["speedup_ci_low"], row["speedup_ci_high"]
    interval = "" if low != low else f" [{low:.2f}, {high:.2f}]"
    return f"{row['speedup']:.2f}×{interval}"
