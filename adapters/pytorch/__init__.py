"""PyTorch on torch.distributed: DDP, tensor parallel, pipelining. Imports no framework here."""

from __future__ import annotations

from pathlib import Path

from adapters.pytorch import compiler as compilers
from suite.contract import builds
from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.splits.strategies import MULTI_WORKER

ENGINES = ("torch",)
DISTRIBUTIONS = ("torch",)
DTYPES = ("float32", "tf32", "bf16")
# The ends of a pipeline add up the gradients of what they tie.
COLLECTIVES = {
    "data": ("all_reduce",), "data/fsdp": ("all_gather", "reduce_scatter"),
    "intra_layer": ("all_reduce",),
    "inter_layer": ("send_recv", "all_reduce"),
}
UNSWEPT: dict[str, str] = {}


def unsupported_reason(case: Case) -> str:
    """Why this cell cannot run by design, or empty."""
    if case.variant == MULTI_WORKER:
        return "multi_worker is TensorFlow's; PyTorch's data has a process for each device"
    if case.mode == "compiled" and "intra_layer" in case.axes.names:
        return "a compiled model has its all-reduces inside, where no probe sees them"
    if case.variant == "interleaved" and "data" in case.axes.names:
        return "a rank's two stages would need two DDP wrappers with probes each: not offered"
    if case.oversubscribe and (case.strategy, case.variant) != ("data", ""):
        return "ranks share a GPU in data parallel only: gloo sends no tensors of a GPU"
    return ""


def installation_problem(case: Case) -> str:
    """The framework is one package, built with CUDA or without; compiling needs a compiler."""
    compiler = compilers.problem(case.device) if case.mode == "compiled" else ""
    return builds.gpu_problem("torch", case.device) or compiler


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    """One process a device, torch.distributed's documented variables, a file as rendezvous."""
    count = case.devices
    shared = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "WORLD_SIZE": str(count),
        "GLOO_SOCKET_IFNAME": case.interface,
        "SUITE_INIT_METHOD": f"file://{(folder / 'rendezvous').resolve()}",
    }
    if case.device == "cpu":
        shared["CUDA_VISIBLE_DEVICES"] = ""
    scratch = folder / "compiled"
    ranks = [
        shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        | compilers.own_caches(scratch / str(rank))
        for rank in range(count)
    ]
    return LaunchPlan(count, ranks, scratch=scratch)
