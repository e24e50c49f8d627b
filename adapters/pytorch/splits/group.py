"""What every way of splitting shares: a process group, a device mesh, a rank's place on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from adapters.pytorch.training.single import Training
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.splits.batches import batch_slice
from suite.contract.workloads import Weights


def join_group(rank: Rank, device: torch.device, shared: bool = False) -> None:
    """NCCL between GPUs, gloo between CPUs and ranks on a ``shared`` GPU, which NCCL refuses."""
    backend = "nccl" if device.type == "cuda" and not shared else "gloo"
    method = os.environ["SUITE_INIT_METHOD"]
    dist.init_process_group(backend, method, rank=rank.index, world_size=rank.processes)


def collective_algorithm(backend: str) -> str:
    """What chooses the algorithm of a collective: neither library tells which one it took.

    NCCL takes the one that ``NCCL_ALGO`` names, in the environment of this process.
    """
    if backend == "nccl" and os.environ.get("NCCL_ALGO"):
        return f"NCCL_ALGO={os.environ['NCCL_ALGO']}"
    return f"{backend}'s own choice"


def _mesh(case: Case, device: torch.device) -> DeviceMesh:
    names = case.axes.names
    if case.oversubscribe:
        # Until torch 2.13 a mesh of GPUs made a group of NCCL's for itself, over the one of gloo.
        world = dist.group.WORLD
        assert world is not None
        return DeviceMesh.from_group(world, device.type, mesh_dim_names=names)
    return init_device_mesh(device.type, case.axes.sizes, mesh_dim_names=names)


class GroupSession(Training):
    """A rank of a ``torch.distributed`` group, on a device mesh with an axis for each split."""

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.mesh = _mesh(case, device)
        super().__init__(case, rank, weights, inputs, device)

    def position(self, axis: str) -> int:
        """Where this rank is on an axis."""
        return self.case.axes.place(axis, self.rank.index)

    def group(self, axis: str) -> dist.ProcessGroup:
        """The ranks that differ from this one on that axis alone."""
        return self.mesh[axis].get_group()

    def key(self, axis: str, name: str) -> str:
        """The name of a communication of this rank's group, which no other group has."""
        return name + self.case.axes.suffix(axis, self.rank.index)

    @contextmanager
    def using(self, model: nn.Module) -> Iterator[None]:
        """Where steps go through ``model``, a wrapper of the same parameters."""
        clean, self.model = self.model, model
        try:
            yield
        finally:
            self.model = clean

    def describe(self) -> dict[str, str]:
        """The ledger of the session, with what this strategy adds to it."""
        backend = dist.get_backend()
        chosen = {"collectives": collective_algorithm(backend)}
        return super().describe() | {"backend": backend} | chosen

    def agree(self, ready: bool) -> bool:
        """Whether every rank says so; a collective call."""
        verdict = torch.tensor(int(ready), device=self.device)
        dist.all_reduce(verdict, dist.ReduceOp.MIN)
        return bool(verdict)

    def close(self) -> None:
        """Leaves the process group, once every rank is ready to."""
        # A rank that leaves early tears its sockets from under the others' last collective.
        dist.barrier()
        dist.destroy_process_group()


class DataParallelSession(GroupSession):
    """Contiguous shards of the global batch; equal shards make a mean of means the batch's mean.

    Shards by the devices' speeds come with a weighted loss instead.
    """

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """This rank's samples of the global batch."""
        share = batch_slice(
            len(features), self.case.axes.size("data"), self.position("data"),
            self.case.device_speeds,
        )
        return features[share], targets[share]

    def loss(self, handle: torch.Tensor) -> float:
        """Mean loss of the global batch, the same value on every rank."""
        total = handle.clone()
        dist.all_reduce(total, group=self.group("data"))
        return float(total) / self.case.axes.size("data")
