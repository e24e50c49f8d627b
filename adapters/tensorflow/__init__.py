"""TensorFlow: MirroredStrategy, and manual device placement. Imports no framework here."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path

from adapters.tensorflow import build
from suite.contract import gpus
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.splits.strategies import MULTI_WORKER, ZERO
from suite.contract.traits import LOGICAL_DEVICES, Traits

TRAITS = Traits(
    engines=("tensorflow",),
    distributions=build.DISTRIBUTIONS,
    recorded=("tensorflow", "tensorflow-cpu", "keras"),
    order=1,
    placement=LOGICAL_DEVICES,
    variants={
        "data": ("", MULTI_WORKER),
        "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
    },
    low_activations=("bf16",),
    collectives={
        "data": ("all_reduce",), "intra_layer": ("send_recv",), "inter_layer": ("send_recv",),
        # The sweep runs in one process, and these workers talk between processes.
        f"data/{MULTI_WORKER}": (),
    },
    unswept=dict.fromkeys(
        ("all_gather", "reduce_scatter", "broadcast"),
        "the devices of one TensorFlow process reduce and copy, no strategy here does more",
    ),
    references=("tensorflow",),
    environment={
        "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2",
        # Keras is not used; TensorFlow would import its current version at start, about 1 s.
        "TF_USE_LEGACY_KERAS": "1",
    },
    passed=("NCCL_*",),
)


def unsupported_reason(case: Case) -> str:
    """Why this cell cannot run by design, or empty."""
    if case.variant in ZERO:
        return (f"{case.variant} needs state that is split over replicas: TensorFlow's strategies "
                "mirror all of it")
    if case.recomputes and "intra_layer" in case.axes.names:
        return ("tf.recompute_grad needs a tape, and only tf.gradients places gradients beside the "
                "shards of a layer")
    if case.compression:
        return "TensorFlow's strategies reduce gradients as they are, they compress none"
    if {"intra_layer", "inter_layer"} <= set(case.axes.names):
        return "a stage's backward pass is placed on one device, so its layers are not split too"
    if case.mode == "compiled" and case.strategy not in ("single", "data"):
        return "XLA (jit_compile) compiles for one device, manual placement spans several"
    if case.variant == MULTI_WORKER and case.interface != "lo":
        return "workers of one host talk over its loopback interface only"
    if case.balances and case.variant != MULTI_WORKER:
        return ("devices of one process share its threads, so none is slower than another: "
                "--variant multi_worker gives each a process")
    if case.oversubscribe:
        return "TensorFlow's one process has each GPU once; ranks share one in PyTorch only"
    return ""


def installation_problem(case: Case) -> str:
    """The framework is one package, built with CUDA or without."""
    return build.gpu_problem(case.device)


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """One process drives all devices, as MirroredStrategy and manual placement do.

    Of ``multi_worker`` each has one, told of the others by TF_CONFIG.
    """
    shared = {"CUDA_VISIBLE_DEVICES": ""} if case.device == "cpu" else {}
    if case.variant != MULTI_WORKER:
        # It takes the memory of every GPU that it sees.
        seen = gpus.only(*range(case.devices)) if case.device == "cuda" else {}
        return LaunchPlan(1, [shared | seen])
    workers = [f"localhost:{port}" for port in _free_ports(case.devices)]
    return LaunchPlan(case.devices, [shared | _worker(case, workers, rank)
                                     for rank in range(case.devices)])


def _worker(case: Case, workers: list[str], rank: int) -> dict[str, str]:
    """https://www.tensorflow.org/guide/distributed_training#TF_CONFIG, and its own GPU."""
    task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
    own = gpus.only(rank) if case.device == "cuda" else {}
    return {"TF_CONFIG": json.dumps(task)} | own


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, all different; TF_CONFIG wants them before a worker starts."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
