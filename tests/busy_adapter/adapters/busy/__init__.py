"""Matrix products in NumPy: a step of true work, no framework, launches in under a second.

Engine ``slower`` does 5 % more of the same work in each step; ``again`` is ``plain`` once more.
"""

from __future__ import annotations

from pathlib import Path

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.traits import Traits

ENGINES = ("plain", "again", "slower")
TRAITS = Traits(
    engines=ENGINES, distributions=("numpy",), collectives={}, references=("plain",),
    preloaded=dict.fromkeys(ENGINES, ("adapters.busy.session",)), late=("BUSY_EXTRA",),
)


def unsupported_reason(case: Case) -> str:
    return ""


def installation_problem(case: Case) -> str:
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return LaunchPlan(1, [threads])
