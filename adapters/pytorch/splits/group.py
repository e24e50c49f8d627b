"""What every way of splitting shares: a process group, a device mesh, a rank's place on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from adapters.pytorch.training.balanced import BalancedShares
from adapters.pytorch.training.single import Training
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def join_group(rank: Rank, device: torch.device, shared: bool = False) -> None:
    """NCCL between GPUs, gloo between CPUs and ranks on a ``shared`` GPU, which NCCL refuses."""
    backend = "nccl" if device.type == "cuda" and not shared else "gloo"
    method = os.environ["SUITE_INIT_METHOD"]
    dist.init_process_group(backend, method, rank=rank.index, world_size=rank.processes)


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
        return super().describe() | {"backend": dist.get_backend()}

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


class DataParallelSession(BalancedShares, GroupSession):
    """Contiguous shards of the global batch; equal shards make a mean of means the batch's mean.

    Shards by the devices' speeds, or balanced ones, come with a weighted loss instead.
    """

    @property
    def replica(self) -> int:
        """Which replica this rank belongs to."""
        return self.position("data")

    def send_busy(self, seconds: float) -> Callable[[], list[float]]:
        """Begins to gather every rank's busy seconds; returns what waits for all of them."""
        mine = torch.tensor([seconds], dtype=torch.float64)
        everyone = torch.empty(self.case.devices, dtype=torch.float64)
        work = dist.all_gather_into_tensor(everyone, mine, self.group("data"), async_op=True)

        def wait() -> list[float]:
            work.wait()
            return everyone.tolist()

        return wait

    def loss(self, handle: torch.Tensor) -> float:
        """Mean loss of the global batch, the same value on every rank."""
        total = handle.clone()
        dist.all_reduce(total, group=self.group("data"))
        return float(total) / self.case.axes.size("data")
