"""Horovod on the torch and the tensorflow engine. Imports no framework here."""

from __future__ import annotations

from pathlib import Path

from suite.spec.adapter import LaunchPlan
from suite.spec.case import Case

ENGINES = ("torch", "tensorflow")
DISTRIBUTIONS = ("horovod",)
# Horovod's own defaults, pinned and recorded with every row. A shorter cycle answers small
# messages sooner but takes time from the rank's one core: 0.1 ms slowed the single device by 15 %.
CYCLE_MS, FUSION_BYTES = "1", str(64 * 1024 * 1024)


def unsupported_reason(case: Case) -> str:
    """Why this cell cannot run by design, or empty."""
    if case.mode == "compiled":
        return "Horovod's collectives are not offered inside compiled graphs"
    return ""


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """One process a device with the variables ``horovodrun --gloo`` sets.

    ``horovodrun`` itself imports every framework first, some 8 s; its rendezvous server runs as
    the helper instead.
    """
    count = case.devices
    shared = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": "lo",
        "HOROVOD_CYCLE_TIME": CYCLE_MS,
        "HOROVOD_FUSION_THRESHOLD": FUSION_BYTES,
        "HOROVOD_AUTOTUNE": "0",
        "HOROVOD_HOSTNAME": "localhost",
        "HOROVOD_SIZE": str(count),
        "HOROVOD_LOCAL_SIZE": str(count),
        "HOROVOD_CROSS_RANK": "0",
        "HOROVOD_CROSS_SIZE": "1",
    }
    if case.device == "cpu":
        shared["CUDA_VISIBLE_DEVICES"] = ""
    ranks = [
        shared | {"HOROVOD_RANK": str(rank), "HOROVOD_LOCAL_RANK": str(rank)}
        for rank in range(count)
    ]
    output = (folder / "rendezvous.json").resolve()
    helper = [python, "-m", "adapters.horovod.rendezvous", str(count), str(output)]
    return LaunchPlan(count, ranks, helper, output)
