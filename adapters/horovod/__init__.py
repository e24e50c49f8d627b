"""Horovod on the torch and the tensorflow engine; this manifest imports no framework."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from adapters.horovod.training import autotuner
from adapters.horovod.training.interfaces import interface_of_host
from adapters.pytorch import build as torch_build
from adapters.pytorch import compiler
from adapters.tensorflow import build as tensorflow_build
from suite.contract import gpus, nccl, packages
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.hosts import Host, Place, places
from suite.contract.splits.strategies import MULTI_WORKER, TUNED, ZERO
from suite.contract.traits import Traits

TRAITS = Traits(
    engines=("torch", "tensorflow"),
    distributions=("horovod",),
    recorded=("horovod",),
    order=2,
    dtypes=("float32", "tf32", "bf16"),
    variants={
        "data": ("", "fp16", *TUNED), "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
    },
    # Horovod has no send/recv, so a hop is a broadcast over two ranks. It lacks bfloat16, too.
    hop="broadcast",
    low_activations=(),
    collectives={
        "data": ("all_reduce",), "intra_layer": ("all_reduce",),
        # The all-reduce adds up the gradients of a parameter that first and last stage share.
        "inter_layer": ("broadcast", "all_reduce"),
    },
    unswept={"send_recv": "Horovod has none, its hop is the broadcast over two ranks"},
    environment={
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2",
        "HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo", "HOROVOD_AUTOTUNE": "0",
        **autotuner.EFFORT,
        # Gloo gives up after 30 s: of a rank that hangs the others would be taken for the cause.
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "86400",
    },
    networks={"cpu": ("tcp",), "cuda": ("tcp", "rdma")},
    passed=("NCCL_*",),
    cuts=True,
    preloaded={
        "torch": ("adapters.horovod.splits.torch_engine.session", "torch._dynamo"),
        "tensorflow": ("adapters.horovod.splits.tensorflow_engine.session",),
    },
    late=(
        "LOCAL_RANK", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_*", "HOROVOD_CROSS_*",
        "HOROVOD_HOSTNAME", "HOROVOD_GLOO_IFACE", "HOROVOD_GLOO_RENDEZVOUS_*",
    ),
)
VERSIONS = {
    "torch": torch_build.torch_version, "tensorflow": tensorflow_build.tensorflow_version,
}
GPU_PROBLEMS = {"torch": torch_build.gpu_problem, "tensorflow": tensorflow_build.gpu_problem}
LIBRARIES = {"torch": "mpi_lib_v2", "tensorflow": "mpi_lib"}
RENDEZVOUS = "adapters.horovod.training.rendezvous"
BUILD = "`python scripts/build_horovod.py`"
BUILT_AGAINST = {"torch": "pytorch", "tensorflow": "tensorflow"}


def unsupported_reason(case: Case) -> str:
    """Returns why a case cannot run by design; empty if it can."""
    if case.variant == MULTI_WORKER:
        return "multi_worker is TensorFlow's; Horovod's data has a process for each device"
    if case.variant in ZERO:
        return (f"{case.variant} needs state that is split over ranks: Horovod's optimisers keep "
                "all of it on each")
    if case.recomputes and case.engine != "torch" and "intra_layer" in case.axes.names:
        return "a recomputed graph would hold a layer's all-reduce twice under one name"
    if case.compression == "bf16":
        return "Horovod's gradient compression has float16 only (hvd.Compression)"
    if case.dtype == "bf16" and case.engine != "torch" and set(case.axes.names) - {"data"}:
        return ("Horovod carries no bfloat16, in which TensorFlow's stages and shards pass their "
                "activations on")
    if case.mode == "compiled" and case.engine != "torch":
        return "Horovod's collectives do not run inside compiled graphs"
    if case.oversubscribe:
        return "Horovod gives each rank a GPU of its own; ranks share one in PyTorch only"
    return _nameless() or ("" if case.hosts > 1 else _elsewhere(case.interface))


def installation_problem(case: Case) -> str:
    """Returns why this installation cannot run a case; empty if it can.

    Horovod's libraries fit only the version of the engine that they were built against.
    """
    return _misfit(case) or GPU_PROBLEMS[case.engine](case.device) or _without_gpu(case)


def _misfit(case: Case) -> str:
    folder = packages.folder_of("horovod")
    if folder is None:
        return f"Horovod is not installed: {BUILD} builds it"
    if _library(case.engine) is None:
        return (f"this Horovod was built without the {case.engine} engine: with "
                f"HOROVOD_GPU_OPERATIONS= in its environment {BUILD} builds both")
    written = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    built = written[BUILT_AGAINST[case.engine]]
    here = VERSIONS[case.engine]()
    if built != here:
        return (f"Horovod was built against {case.engine} {built}, and {here or 'none'} is "
                f"installed: {BUILD} builds it anew")
    return ""


def _library(engine: str) -> Path | None:
    folder = packages.folder_of("horovod")
    pattern = f"{engine}/{LIBRARIES[engine]}*.so"
    return next(folder.glob(pattern), None) if folder else None


def _without_gpu(case: Case) -> str:
    """Returns what is wrong if Horovod was built without CUDA and the case needs it.

    A library that can call CUDA contains the names of its functions, because errors mention them.
    """
    library = _library(case.engine)
    if case.device != "cuda" or (library and b"cudaEventRecord" in library.read_bytes()):
        return ""
    return f"this Horovod was built without CUDA: with the CUDA toolkit, {BUILD} builds it anew"


def _nameless() -> str:
    """Returns what is wrong if the host's own name does not resolve, on which gloo crashes."""
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        name = socket.gethostname()
        return f"the host name {name} does not resolve, on which gloo crashes: add it to /etc/hosts"
    return ""


def _elsewhere(interface: str) -> str:
    """Returns what is wrong if Horovod cannot use the interface that a user asked for.

    Between ranks of one host the kernel uses lo, whichever of the host's addresses they connect to.
    """
    mine = interface_of_host()
    if interface in ("lo", mine):
        return ""
    name = socket.gethostname()
    return f"Horovod takes the address of the host name {name}, on {mine or 'no interface'} here"


def _gpu(case: Case, local: int) -> dict[str, str]:
    """Shows a TensorFlow rank only its own GPU, because TensorFlow takes the memory of all it sees.

    Torch needs no such variable; it has a current GPU.

    Args:
        case: The case.
        local: The number of the rank on its host.
    """
    return gpus.only(local) if (case.device, case.engine) == ("cuda", "tensorflow") else {}


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """Plans one process for each device on this host.

    Args:
        case: The case.
        folder: The folder of the launch.
        python: The interpreter of the ranks.
    """
    return _plan(case, folder, python, [Host("localhost", case.devices, interface=case.interface)])


def launch_plan_on(
    case: Case, folder: Path, python: str, hosts: Sequence[Host]
) -> LaunchPlan:
    """Plans one process for each device of each host.

    Horovod's ranks tell each other the address of their host's name, whatever interface they are
    given, and wait for ever for a rank whose name means its loopback interface.

    The parameters are those of ``suite.contract.hosts.SpansHosts``.

    Raises:
        UsageError: The name of the host that asks means another address.
    """
    addresses = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    mine = next((host for host in hosts if host.address in addresses), None)
    if mine and interface_of_host() != mine.interface:
        name = socket.gethostname()
        raise UsageError(
            f"the host name {name}", interface_of_host() or "no address",
            f"the address {mine.address}, at which the other hosts reach it",
            f"give {name} that address in its /etc/hosts",
        )
    return _plan(case, folder, python, hosts)


def _plan(case: Case, folder: Path, python: str, hosts: Sequence[Host]) -> LaunchPlan:
    """Plans processes with the variables that ``horovodrun --gloo`` would set.

    ``horovodrun`` itself first imports every framework, which takes about 8 s. Its rendezvous
    server runs as the helper of the launch instead.
    """
    shared = {"HOROVOD_SIZE": str(case.devices)} | nccl.variables(case, folder)
    if case.device == "cpu":
        shared["CUDA_VISIBLE_DEVICES"] = ""
    scratch = folder / "compiled"
    compiles = case.engine == "torch" and case.mode == "compiled"
    ranks = [
        shared | _place(hosts, place) | {"HOROVOD_RANK": str(rank)} | _gpu(case, place.local)
        | (compiler.own_caches(scratch / str(rank), case.device) if compiles else {})
        for rank, place in enumerate(places(hosts))
    ]
    output = (folder / "rendezvous.json").resolve()
    among = ",".join(f"{host.name}:{host.devices}" for host in hosts)
    helper = [python, "-m", RENDEZVOUS, among, str(output), hosts[0].interface]
    return LaunchPlan(case.devices, ranks, helper, output, scratch if compiles else None)


def _place(hosts: Sequence[Host], place: Place) -> dict[str, str]:
    """A rank's place on its host, and among the ranks of the same number on other hosts."""
    host = hosts[place.host]
    across = [number for number, each in enumerate(hosts) if each.devices > place.local]
    return {
        "HOROVOD_GLOO_IFACE": host.interface,
        "HOROVOD_HOSTNAME": host.name,
        "HOROVOD_LOCAL_RANK": str(place.local),
        # By this name PyTorch's adapter finds its GPU on the host, here as under torchrun.
        "LOCAL_RANK": str(place.local),
        "HOROVOD_LOCAL_SIZE": str(host.devices),
        "HOROVOD_CROSS_RANK": str(across.index(place.host)),
        "HOROVOD_CROSS_SIZE": str(len(across)),
    }
