"""The page: one self-contained file."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader

from suite.spec.metrics import BY_NAME, METRICS

SHOWN = (
    "framework", "engine", "strategy", "variant", "workload", "size", "devices", "status",
    "step_time_s", "throughput_samples_s", "speedup", "efficiency", "t_comm_s", "t_comm_wait_s",
    "comm_bytes", "comm_count", "alpha_s_per_byte", "load_balance", "peak_memory_bytes", "parity",
    "reason", "warnings",
)


def render(run: dict[str, Any], rows: list[dict[str, Any]], losses: list[dict[str, Any]]) -> str:
    """HTML of a run; everything user-supplied is escaped by the template engine."""
    environment = Environment(loader=PackageLoader("suite.report", "."), autoescape=True)
    cells = [[BY_NAME[name].show(row.get(name)) for name in SHOWN] for row in rows]
    return environment.get_template("report.html.j2").render(
        run=run, labels=[BY_NAME[name].label for name in SHOWN], cells=cells, metrics=METRICS,
        verdicts=verdicts(rows), proven=len({loss["case_id"] for loss in losses}),
    )


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """For each workload the fastest row in words; overlapping intervals are a tie."""
    found = []
    for key in dict.fromkeys((row["workload"], row["size"], row["devices"]) for row in rows
                             if row["strategy"] != "single"):
        chosen = [row for row in rows if row["status"] == "ok" and row["strategy"] != "single"
                  and (row["workload"], row["size"], row["devices"]) == key]
        if chosen:
            found.append(_verdict(key, sorted(chosen, key=lambda row: row["step_time_s"])))
    return found


def _verdict(key: tuple[str, str, int], ordered: list[dict[str, Any]]) -> str:
    best = ordered[0]
    reach = best["step_time_ci_high_s"]
    if reach != reach:
        text = "lowest median, too few launches to call it faster"
    else:
        ties = [_name(row) for row in ordered[1:] if row["step_time_ci_low_s"] <= reach]
        text = f"tie with {', '.join(ties)}" if ties else "faster than the rest"
    speedup = f", {best['speedup']:.2f}× its base" if best.get("speedup") else ""
    step = BY_NAME["step_time_s"].show(best["step_time_s"])
    return f"{key[0]} {key[1]} on {key[2]} devices: {_name(best)}, {step} a step{speedup}; {text}."


def _name(row: dict[str, Any]) -> str:
    engine = f"/{row['engine']}" if row["framework"] == "horovod" else ""
    return f"{row['framework']}{engine} {row['strategy']}"
