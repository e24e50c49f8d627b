"""TensorFlow and Horovod on it with a truth planted by PLANT, for measurements to find.

``PLANT=delay:DEVICE:SECONDS`` makes a device begin every second step late. Of Horovod's ranks
``PLANT=spin:DEVICE:SECONDS`` makes one compute as much longer, without touching memory; of
TensorFlow's replicas ``PLANT=work:DEVICE`` makes one compute each step twice, once on its own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapters import horovod, tensorflow
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case

# The variables of either adapter come with its launch plan: they exclude each other.
TRAITS = replace(
    tensorflow.TRAITS, engines=("tensorflow", "horovod"), references=(), environment={},
    preloaded={"tensorflow": tensorflow.TRAITS.preloaded["tensorflow"],
               "horovod": horovod.TRAITS.preloaded["tensorflow"]},
    late=(*tensorflow.TRAITS.late, *horovod.TRAITS.late, "PLANT"),
)


def unsupported_reason(case: Case) -> str:
    return ""


def installation_problem(case: Case) -> str:
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    adapter = horovod if case.engine == "horovod" else tensorflow
    plan = adapter.launch_plan(case, folder, python)
    variables = dict(adapter.TRAITS.environment)
    return replace(plan, environment=[variables | rank for rank in plan.environment])
