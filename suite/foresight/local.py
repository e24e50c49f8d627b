"""Predictions of this machine beside rows that were measured on it."""

from __future__ import annotations

from collections.abc import Sequence

from suite.contract.row import Row
from suite.contract.splits.mesh import mesh_of
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.strategies import VIRTUAL_STAGES
from suite.contract.workloads import sized_workload
from suite.foresight.figures import Figure
from suite.foresight.fitting import Posterior
from suite.foresight.plans import Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.step import predict_by_constants
from suite.foresight.workloads import model_of_workload

# What is aimed at: relative errors, and of L the difference.
GOALS = {"step time": 0.10, "T_comm": 0.15, "L": 0.05, "memory": 0.10}


def plan_of_row(row: Row) -> Plan:
    """How a measured case was split, as a plan."""
    axes = dict(mesh_of(row.strategy, row.devices, row.mesh).axes) if row.devices > 1 else {}
    replicas, stages = axes.get("data", 1), axes.get("inter_layer", 1)
    accumulate = row.accumulate or 1
    parts = micro_batches(row.variant, stages, accumulate) if stages > 1 else accumulate
    interleaved = row.variant == "interleaved"
    return Plan(
        axes.get("intra_layer", 1), stages, replicas,
        micro_batch=row.global_batch / replicas / parts, micro_batches=parts,
        schedule=row.variant if stages > 1 else "1f1b",
        chunks=VIRTUAL_STAGES if interleaved else 1,
        sharding=3.0 if row.variant == "fsdp" else 0.0,
    )


def predictable(row: Row) -> bool:
    """Whether a row is a proven float32 step of a plain way of splitting."""
    plain = row.variant in ("", "fsdp", "gpipe", "1f1b", "interleaved", "naive")
    return row.status == "ok" and row.parity == "ok" and plain and row.dtype == "float32"


def compared(row: Row, posterior: Posterior, name: str) -> list[Figure]:
    """Measured figures of a row beside predicted ones.

    Args:
        row: A row that ``predictable`` lets through.
        posterior: Constants of its framework on this machine.
        name: How the row is called.

    Returns:
        Step time, and T_comm, L and memory where they were measured. Of T_comm it is the transfer:
        the formulas know nothing of who comes late. It is left out of copies within a process
        unless they were rehearsed, since no link's model describes them either. L is near 1, so
        its relative error is nearly the difference. The baseline of a step is what constants say
        of it without rehearsals.
    """
    workload = sized_workload(row.workload, row.size, row.global_batch)
    model, plans = model_of_workload(workload), plans_of([plan_of_row(row)])
    one = predict(model, plans, posterior.stack)
    low, high = posterior.interval(lambda stack: predict(model, plans, stack).step_s, one.rehearsed)
    plain = predict_by_constants(model, plans, posterior.stack)
    found = [Figure(name, "step time", row.case_id, row.step_seconds, float(one.step_s[0]),
                    baseline=float(plain.step_s[0]), low=float(low[0]), high=float(high[0]))]
    known = row.t_comm_model_s or one.rehearsed[0] > 0.0
    transfer = row.t_comm_transfer_s if known else None
    others: Sequence[tuple[str, float | None, float]] = (
        ("T_comm", transfer, float(one.communication_s[0])),
        ("L", row.load_balance, float(one.load_balance[0])),
        ("memory", row.peak_memory_bytes, float(one.peak_bytes[0])),
    )
    found += [Figure(name, what, row.case_id, float(value), predicted)
              for what, value, predicted in others if value and row.devices > 1]
    return found
