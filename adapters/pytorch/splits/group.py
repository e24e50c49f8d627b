"""What all ways of splitting share: a process group, a device mesh, and a rank's place on it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from adapters.pytorch.training.balanced import BalancedShares, Gathered
from adapters.pytorch.training.single import Training
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def shares_over_nccl() -> bool:
    """Whether the user lets ranks of one GPU meet in NCCL, which has that from release 2.30 on."""
    asked = os.environ.get("NCCL_MULTI_RANK_GPU_ENABLE") == "1"
    return asked and torch.cuda.nccl.version() >= (2, 30)


def join_group(rank: Rank, device: torch.device, shared: bool = False) -> None:
    """Joins the process group: NCCL between GPUs, gloo between CPUs.

    Args:
        rank: Which of the case's processes this is.
        device: The rank's device.
        shared: Whether ranks share a GPU, which NCCL refuses unless it is told otherwise; they use
            gloo.
    """
    backend = "nccl" if device.type == "cuda" and (not shared or shares_over_nccl()) else "gloo"
    method = os.environ["SUITE_INIT_METHOD"]
    dist.init_process_group(backend, method, rank=rank.index, world_size=rank.processes)


def collective_algorithm(backend: str) -> str:
    """What chooses the algorithm of a collective: neither library tells which one it took.

    NCCL takes the one that ``NCCL_ALGO`` names, in the environment of this process.
    """
    if backend == "nccl" and os.environ.get("NCCL_ALGO"):
        return f"NCCL_ALGO={os.environ['NCCL_ALGO']}"
    return f"{backend}'s own choice"


def gather_figures(mine: list[float], group: dist.ProcessGroup) -> Gathered:
    """Begins to gather figures of every rank of a group.

    Args:
        mine: Figures of this rank; every rank has as many.
        group: The group.

    Returns:
        A function that waits for them and returns them by rank.
    """
    sent = torch.tensor(mine, dtype=torch.float64)
    everyone = [torch.empty_like(sent) for _ in range(group.size())]
    work = dist.all_gather(everyone, sent, group, async_op=True)

    def wait() -> list[list[float]]:
        work.wait()
        return [figures.tolist() for figures in everyone]

    return wait


def _mesh(case: Case, device: torch.device) -> DeviceMesh:
    names = case.axes.names
    if case.oversubscribe:
        # Until torch 2.13 a mesh of GPUs made an NCCL group for itself, in spite of the gloo group.
        world = dist.group.WORLD
        assert world is not None
        return DeviceMesh.from_group(world, device.type, mesh_dim_names=names)
    return init_device_mesh(device.type, case.axes.sizes, mesh_dim_names=names)


class GroupSession(Training):
    """A rank of a ``torch.distributed`` group, on a device mesh with an axis for each split.

    Attributes:
        awaited: Threads of groups for whose collectives the rank waits whatever its strategy is.
    """

    awaited: Collection[int] = ()

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.mesh = _mesh(case, device)
        super().__init__(case, rank, weights, inputs, device)

    def position(self, axis: str) -> int:
        """Returns where this rank is on an axis."""
        return self.case.axes.place(axis, self.rank.index)

    def group(self, axis: str) -> dist.ProcessGroup:
        """Returns the group of ranks that differ from this one on that axis alone."""
        return self.mesh[axis].get_group()

    def key(self, axis: str, name: str) -> str:
        """Returns the name of a communication of this rank's group, which no other group has.

        Args:
            axis: The axis along which the group communicates.
            name: Name of the communication within the group.
        """
        return name + self.case.axes.suffix(axis, self.rank.index)

    @contextmanager
    def using(self, model: nn.Module) -> Iterator[None]:
        """Trains through ``model``, a wrapper of the same parameters, while the context lasts."""
        clean, self.model = self.model, model
        try:
            yield
        finally:
            self.model = clean

    def describe(self) -> dict[str, str]:
        """Returns the session's entries of the ledger, and the backend."""
        backend = dist.get_backend()
        chosen = {"collectives": collective_algorithm(backend)}
        return super().describe() | {"backend": backend} | chosen

    def agree(self, ready: bool) -> bool:
        """Returns True if ``ready`` is true on every rank; a collective call."""
        verdict = torch.tensor(int(ready), device=self.device)
        dist.all_reduce(verdict, dist.ReduceOp.MIN)
        return bool(verdict)

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells, in the order of the ranks; a collective call."""
        everyone: list[Any] = [None] * self.rank.processes
        dist.all_gather_object(everyone, told)
        return everyone

    def close(self) -> None:
        """Leaves the process group once every rank is ready to."""
        # A rank that left early would close the sockets that the others' last collective uses.
        dist.barrier()
        dist.destroy_process_group()


class DataParallelSession(BalancedShares, GroupSession):
    """Trains on contiguous shards of the global batch.

    With equal shards the mean of the ranks' means is the mean of the batch. With shards by the
    devices' speeds, or balanced ones, the loss is weighted instead.
    """

    @property
    def replica(self) -> int:
        """The number of the replica that this rank belongs to."""
        return self.position("data")

    def gather_busy(self, seconds: list[float]) -> Gathered:
        """Begins to gather every rank's busy seconds of some steps.

        Args:
            seconds: Of this rank in each of the steps, oldest first.

        Returns:
            A function that waits for the same of all ranks and returns it by rank.
        """
        return gather_figures(seconds, self.group("data"))

    def loss(self, handle: torch.Tensor) -> float:
        """Returns the mean loss of the global batch, the same value on every rank."""
        total = handle.clone()
        dist.all_reduce(total, group=self.group("data"))
        return float(total) / self.case.axes.size("data")
