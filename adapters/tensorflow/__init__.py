"""The manifest of TensorFlow, which imports no framework.

The splits are MirroredStrategy and manual device placement.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from adapters.tensorflow import build
from suite.contract import gpus, nccl
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.hosts import Host, places
from suite.contract.splits.strategies import MULTI_WORKER, ZERO
from suite.contract.traits import LOGICAL_DEVICES, Traits

# Variable with the address at which rank 0 takes in the ranks that it drives.
DRIVER = "SUITE_TF_DRIVER"
TRAITS = Traits(
    engines=("tensorflow",),
    distributions=build.DISTRIBUTIONS,
    recorded=("tensorflow", "tensorflow-cpu", "keras"),
    order=1,
    dtypes=("float32", "tf32", "bf16"),
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
        "the devices of one TensorFlow process only reduce and copy, whatever the strategy",
    ),
    unswept_across={
        "all_reduce": "over hosts one process places copies on the devices of the others, and "
                      "MirroredStrategy reduces on one host alone",
    },
    references=("tensorflow",),
    environment={
        "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2",
        # Keras is not used, but TensorFlow would import its current version, which takes about 1 s.
        "TF_USE_LEGACY_KERAS": "1",
    },
    networks={"cpu": ("tcp",), "cuda": ("tcp", "rdma")},
    passed=("NCCL_*",),
    cuts=True,
    preloaded={"tensorflow": ("adapters.tensorflow.session",)},
    late=("TF_CONFIG",),
)


def unsupported_reason(case: Case) -> str:
    """Returns why this case cannot run by design; empty if it can."""
    if case.variant in ZERO:
        return (f"{case.variant} needs state that is split over replicas, but TensorFlow's "
                "strategies mirror all of it")
    if case.recomputes and "intra_layer" in case.axes.names:
        return ("tf.recompute_grad needs a tape, but only tf.gradients places gradients beside the "
                "shards of a layer")
    if case.balances and case.variant != MULTI_WORKER:
        way = ("; --variant multi_worker gives each a process" if case.strategy == "data" else
               ": no clock tells what a stage is busy for, and no stage is what its device is not")
        return "devices of one process share its threads, so none is slower than another" + way
    if case.compression:
        return "TensorFlow's strategies reduce gradients as they are and compress none"
    if {"intra_layer", "inter_layer"} <= set(case.axes.names):
        return ("the backward pass of a stage is placed on one device, so its layers cannot be "
                "split too")
    if case.mode == "compiled" and case.strategy not in ("single", "data"):
        return "XLA (jit_compile) compiles for one device, but manual placement spans several"
    if case.variant == MULTI_WORKER and case.interface != "lo":
        return "workers of one host talk over its loopback interface only"
    if case.hosts > 1 and case.axes.names == ("data",) and case.variant != MULTI_WORKER:
        return ("MirroredStrategy drives the devices of one process; data parallel spans hosts "
                "with --variant multi_worker")
    if case.hosts > 1 and case.device == "cuda" and case.variant != MULTI_WORKER:
        return ("manual placement over hosts sends what is on a GPU through the hosts' memory, and "
                "no profile of a process tells those communications; it is offered for CPUs")
    if case.oversubscribe:
        return ("TensorFlow's one process uses each GPU once; only PyTorch has ranks that share a "
                "GPU")
    return ""


def installation_problem(case: Case) -> str:
    """Returns why this installation cannot run the case, and the fix; empty if it can.

    TensorFlow is one package, built with CUDA or without.
    """
    return build.gpu_problem(case.device)


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """Plans one process that drives all devices, as MirroredStrategy and manual placement do.

    In a case with ``multi_worker`` each device has a process, and TF_CONFIG names the others.

    Args:
        case: The case to launch.
        folder: Folder of the launch's files, in which NCCL's words are kept.
        python: Path of the interpreter that runs the workers; not needed here.
    """
    shared = {"CUDA_VISIBLE_DEVICES": ""} if case.device == "cpu" else {}
    if case.variant != MULTI_WORKER:
        # The process takes memory of every GPU that it sees, so it must see no others.
        seen = gpus.only(*range(case.devices)) if case.device == "cuda" else {}
        return LaunchPlan(1, [shared | seen | nccl.variables(case, folder)])
    workers = [f"localhost:{port}" for port in _free_ports(case.devices)]
    return _workers(case, folder, workers, range(case.devices))


def launch_plan_on(
    case: Case, folder: Path, python: str, hosts: Sequence[Host]
) -> LaunchPlan:
    """Plans a process for each device of each host: a worker of MultiWorkerMirroredStrategy, or
    for manual placement rank 0, which drives all devices, and a server for each of the others.

    The parameters are those of ``suite.contract.hosts.SpansHosts``.
    """
    where = places(hosts)
    workers = [f"{hosts[place.host].address}:{hosts[place.host].ports[place.local]}"
               for place in where]
    plan = _workers(case, folder, workers, [place.local for place in where])
    if case.variant == MULTI_WORKER:
        return plan
    # The first port of rank 0's host that no server has.
    driver = {DRIVER: f"{hosts[0].address}:{hosts[0].ports[hosts[0].devices]}"}
    return replace(plan, environment=[own | driver for own in plan.environment])


def _workers(
    case: Case, folder: Path, workers: Sequence[str], local: Sequence[int]
) -> LaunchPlan:
    """A process each, told of all by TF_CONFIG; ``local`` are their GPUs on their own hosts.

    https://www.tensorflow.org/guide/distributed_training#TF_CONFIG
    """
    shared = {"CUDA_VISIBLE_DEVICES": ""} if case.device == "cpu" else {}
    shared |= nccl.variables(case, folder)
    environment = []
    for rank, place in enumerate(local):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        own = gpus.only(place) if case.device == "cuda" else {}
        environment.append(shared | {"TF_CONFIG": json.dumps(task)} | own)
    return LaunchPlan(len(workers), environment)


def _free_ports(count: int) -> list[int]:
    """Returns different ports that are free now; TF_CONFIG needs them before a worker starts."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for endpoint in sockets:
            endpoint.bind(("localhost", 0))
        return [endpoint.getsockname()[1] for endpoint in sockets]
