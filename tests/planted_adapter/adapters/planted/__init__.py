"""Real adapters with a truth planted by PLANT, for measurements to find.

``PLANT=delay:RANK:SECONDS`` makes a rank begin every second step late; ``PLANT=work:RANK`` makes it
compute each step twice, once with communication switched off; ``PLANT=spin:RANK:SECONDS`` makes it
compute as much longer, without touching memory; ``PLANT=count`` leaves the framework's own count of
a timed step's collectives beside the record.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapters import horovod, pytorch
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case

# The variables of either adapter come with its launch plan: they exclude each other.
TRAITS = replace(
    pytorch.TRAITS, engines=("torch", "horovod"), references=(), environment={},
    preloaded={"torch": pytorch.TRAITS.preloaded["torch"],
               "horovod": horovod.TRAITS.preloaded["torch"]},
    late=(*pytorch.TRAITS.late, *horovod.TRAITS.late, "PLANT"),
)


def unsupported_reason(case: Case) -> str:
    return ""


def installation_problem(case: Case) -> str:
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    adapter = horovod if case.engine == "horovod" else pytorch
    plan = adapter.launch_plan(case, folder, python)
    variables = dict(adapter.TRAITS.environment)
    return replace(plan, environment=[variables | rank for rank in plan.environment])
