"""The page: one self-contained file."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader

from suite.report.matrix import build_grids, case_name, grouped_reasons, grouped_warnings
from suite.spec.metrics import BY_NAME, METRICS

DETAILS = (
    "status", "step_time_s", "step_time_ci_low_s", "step_time_ci_high_s", "throughput_samples_s",
    "throughput_tokens_s", "speedup", "speedup_ci_low", "speedup_ci_high", "efficiency",
    "t_comm_s", "t_comm_wait_s", "t_comm_transfer_s", "comm_bytes", "comm_count",
    "alpha_s_per_byte", "load_balance", "peak_memory_bytes", "instrumentation_overhead",
    "noise_cv", "repeats", "parity", "parity_error",
)
TINTS = 5


def render(run: dict[str, Any], rows: list[dict[str, Any]], losses: list[dict[str, Any]]) -> str:
    """HTML of a run; everything user-supplied is escaped by the template engine."""
    environment = Environment(loader=PackageLoader("suite.report", "."), autoescape=True)
    environment.filters["tint"] = tint
    shown = [name for name in DETAILS if any(BY_NAME[name].show(row.get(name)) for row in rows)]
    return environment.get_template("report.html.j2").render(
        run=run, grids=build_grids(rows), details=[BY_NAME[name] for name in shown], rows=rows,
        doubts=grouped_reasons(rows) + grouped_warnings(rows),
        case_name=case_name, metrics=METRICS, curves=_curves(losses, rows),
    )


def tint(speedup: float | None) -> str:
    """CSS class of a speedup: 1 to TINTS above its base, ``slower`` below, empty without one."""
    if speedup is None:
        return ""
    if speedup < 0.995:
        return "slower"
    return f"tint{min(TINTS, 1 + int((speedup - 1.0) * TINTS))}"


def _curves(
    losses: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> list[tuple[str, float, list[str]]]:
    """(case, largest relative difference, losses as text), the parity evidence."""
    found = []
    for row in rows:
        mine = [loss for loss in losses if loss["case_id"] == row["case_id"]]
        if not mine:
            continue
        worst = max(
            abs(one["loss"] - one["reference_loss"]) / max(abs(one["reference_loss"]), 1e-12)
            for one in mine
        )
        label = f"{case_name(row)}, {row['workload']} {row['size']}"
        found.append((label, worst, [f"{one['loss']:.5f}" for one in mine]))
    return found
