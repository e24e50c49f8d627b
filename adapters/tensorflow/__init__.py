"""TensorFlow: MirroredStrategy, and manual device placement. Imports no framework here."""

from __future__ import annotations

from pathlib import Path

from suite.spec.adapter import LaunchPlan
from suite.spec.case import Case

ENGINES = ("tensorflow",)
DISTRIBUTIONS = ("tensorflow-cpu", "tensorflow")
COLLECTIVES = {
    "data": ("all_reduce",), "intra_layer": ("send_recv",), "inter_layer": ("send_recv",),
}
UNSWEPT = dict.fromkeys(
    ("all_gather", "reduce_scatter", "broadcast"),
    "the devices of one TensorFlow process reduce and copy, no strategy here does more",
)


def unsupported_reason(case: Case) -> str:
    """Why this cell cannot run by design, or empty."""
    if case.variant == "fsdp":
        return "TensorFlow has no fully sharded data parallel"
    if case.compression:
        return "TensorFlow's strategies reduce gradients as they are, they compress none"
    if {"intra_layer", "inter_layer"} <= set(case.axes.names):
        return "a stage's backward pass is placed on one device, so its layers are not split too"
    if case.mode == "compiled" and case.strategy not in ("single", "data"):
        return "XLA (jit_compile) compiles for one device, manual placement spans several"
    if case.oversubscribe:
        return "TensorFlow's one process has each GPU once; ranks share one in PyTorch only"
    return ""


def installation_problem(case: Case) -> str:
    """The framework is one package."""
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """One process drives all devices, as MirroredStrategy and manual placement do."""
    shared = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    # Keras is not used here; TensorFlow would import its current version at start, about 1 s.
    shared["TF_USE_LEGACY_KERAS"] = "1"
    if case.device == "cpu":
        shared["CUDA_VISIBLE_DEVICES"] = ""
    return LaunchPlan(1, [shared])
