"""An adapter of another package: an MLP in NumPy, one process for all devices, two engines.

It is what a port to a new framework looks like from outside: it imports the contract alone, and
``suite/`` knows nothing of it. Engine ``card`` does the work of ``paper`` twice.
"""

from __future__ import annotations

from pathlib import Path

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.traits import LOGICAL_DEVICES, Traits

TRAITS = Traits(
    engines=("paper", "card"),
    distributions=("numpy",),
    recorded=("numpy",),
    placement=LOGICAL_DEVICES,
    # A stage hands its activation on by a broadcast: nothing but this line says so.
    hop="broadcast",
    collectives={"data": ("all_reduce",), "inter_layer": ("broadcast",)},
    unswept={"send_recv": "hops are broadcasts"},
    references=("paper",),
    environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
)


def unsupported_reason(case: Case) -> str:
    """Why a case cannot run by design."""
    if case.workload != "mlp":
        return "only the dense classifier is written in NumPy here"
    return "" if case.strategy in ("single", "data", "inter_layer") else "nobody wrote this split"


def installation_problem(case: Case) -> str:
    """NumPy is all it takes."""
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """One process."""
    return LaunchPlan(1, [{}])
