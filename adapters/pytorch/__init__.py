"""The manifest of PyTorch on torch.distributed, which imports no framework.

The splits are DDP, fully sharded data parallel, tensor parallel and pipelining.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapters.pytorch import build, compiler
from suite.contract import nccl
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.hosts import Host, places
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.traits import Traits

TRAITS = Traits(
    engines=("torch",),
    distributions=("torch",),
    recorded=("torch",),
    order=0,
    dtypes=("float32", "tf32", "bf16"),
    variants={
        "data": ("", "fsdp", "zero1", "zero2", "fp16", "bf16"),
        "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
    },
    low_activations=("bf16",),
    collectives={
        "data": ("all_reduce",),
        "data/fsdp": ("all_gather", "reduce_scatter"),
        "data/zero1": ("all_reduce", "broadcast"),
        "data/zero2": ("all_gather", "reduce_scatter"),
        "intra_layer": ("all_reduce",),
        # The all-reduce adds up the gradients of a parameter that first and last stage share.
        "inter_layer": ("send_recv", "all_reduce"),
    },
    references=("torch",),
    environment={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    networks={"cpu": ("tcp",), "cuda": ("tcp", "rdma")},
    passed=("NCCL_*",),
    # DistributedDataParallel's default, of which the plain variant changes nothing.
    gradient_bucket_bytes=25 << 20,
    cuts=True,
    preloaded={"torch": ("adapters.pytorch.session", "torch._dynamo")},
    late=(
        "RANK", "LOCAL_RANK", "WORLD_SIZE", "GLOO_SOCKET_IFNAME", "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
    ),
)


def unsupported_reason(case: Case) -> str:
    """Returns why this case cannot run by design; empty if it can."""
    if case.variant == MULTI_WORKER:
        return "multi_worker is TensorFlow's; PyTorch's data has a process for each device"
    if case.variant == "interleaved" and "data" in case.axes.names:
        return ("each of a rank's two stages would need a DDP wrapper with probes, which is not "
                "offered")
    if case.oversubscribe and (case.strategy, case.variant) != ("data", ""):
        return "ranks share a GPU in data parallel only: gloo sends no tensors of a GPU"
    return ""


def installation_problem(case: Case) -> str:
    """Returns why this installation cannot run the case, and the fix; empty if it can.

    torch may be built without CUDA, may be too old to share a GPU, or may lack a compiler.
    """
    missing = compiler.problem(case.device) if case.mode == "compiled" else ""
    return build.gpu_problem(case.device) or build.sharing_problem(case.oversubscribe) or missing


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """Plans one process for each device, with the variables that torch.distributed documents.

    The ranks find each other through a file.

    Args:
        case: The case to launch.
        folder: Folder of the launch's files.
        python: Path of the interpreter that runs the workers; not needed here.
    """
    shared = {
        "GLOO_SOCKET_IFNAME": case.interface,
        "SUITE_INIT_METHOD": f"file://{(folder / 'rendezvous').resolve()}",
    }
    return _plan(case, folder, [shared | {"LOCAL_RANK": str(n)} for n in range(case.devices)])


def launch_plan_on(
    case: Case, folder: Path, python: str, hosts: Sequence[Host]
) -> LaunchPlan:
    """The variables that torchrun sets; the first rank keeps the store at which all meet."""
    shared = {
        "MASTER_ADDR": hosts[0].address, "MASTER_PORT": str(hosts[0].ports[0]),
        "SUITE_INIT_METHOD": "env://",
    }
    return _plan(case, folder, [
        shared | {
            "LOCAL_RANK": str(place.local), "LOCAL_WORLD_SIZE": str(hosts[place.host].devices),
            "GROUP_RANK": str(place.host), "GLOO_SOCKET_IFNAME": hosts[place.host].interface,
        }
        for place in places(hosts)
    ])


def _plan(case: Case, folder: Path, ranks: Sequence[dict[str, str]]) -> LaunchPlan:
    """What every rank gets beside its own place."""
    shared = {"WORLD_SIZE": str(case.devices)} | nccl.variables(case, folder)
    if case.device == "cpu":
        shared["CUDA_VISIBLE_DEVICES"] = ""
    scratch = folder / "compiled"
    environment = [
        shared | own | {"RANK": str(rank)} | compiler.own_caches(scratch / str(rank), case.device)
        for rank, own in enumerate(ranks)
    ]
    return LaunchPlan(case.devices, environment, scratch=scratch)
