"""Opens a PyTorch case in a rank."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from adapters.pytorch.models.training import Training, open_device
from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.strategies import batch_slice
from suite.spec.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    device = open_device(case, rank)
    if case.strategy == "single":
        return Training(case, rank, weights, inputs, device)
    join_group(rank, device, case.oversubscribe)
    return _session_class(case)(case, rank, weights, inputs, device)


def join_group(rank: Rank, device: torch.device, shared: bool = False) -> None:
    """NCCL between GPUs, gloo between CPUs and ranks on a ``shared`` GPU, which NCCL refuses."""
    backend = "nccl" if device.type == "cuda" and not shared else "gloo"
    method = os.environ["SUITE_INIT_METHOD"]
    dist.init_process_group(backend, method, rank=rank.index, world_size=rank.processes)


def _session_class(case: Case) -> type[GroupSession]:
    """The class of the strategy; of a combined one, what its axes' classes make together.

    Each class is one axis and hands on to the next with ``super()``: a pipeline's stages are
    wrapped for data parallel, whose replicas are split in shards (torchtitan's order).
    """
    if case.variant == "fsdp":
        from adapters.pytorch.fully_sharded import FullyShardedSession

        return FullyShardedSession
    bases = tuple(_axis_class(axis) for axis in case.axes.names)
    return bases[0] if len(bases) == 1 else type("MeshSession", bases, {})


def _axis_class(axis: str) -> type[GroupSession]:
    if axis == "data":
        from adapters.pytorch.data import DataSession

        return DataSession
    if axis == "intra_layer":
        from adapters.pytorch.intra_layer import IntraLayerSession

        return IntraLayerSession
    from adapters.pytorch.inter_layer import InterLayerSession

    return InterLayerSession


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
        return super().describe() | {"backend": dist.get_backend()}

    def agree(self, ready: bool) -> bool:
        verdict = torch.tensor(int(ready), device=self.device)
        dist.all_reduce(verdict, dist.ReduceOp.MIN)
        return bool(verdict)

    def close(self) -> None:
        # A rank that leaves early tears its sockets from under the others' last collective.
        dist.barrier()
        dist.destroy_process_group()


class DataParallelSession(GroupSession):
    """Contiguous shards of the global batch; equal shards make a mean of means the batch's mean.

    Shards by the devices' speeds come with a weighted loss instead.
    """

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        share = batch_slice(
            len(features), self.case.axes.size("data"), self.position("data"),
            self.case.device_speeds,
        )
        return features[share], targets[share]

    def loss(self, handle: torch.Tensor) -> float:
        total = handle.clone()
        dist.all_reduce(total, group=self.group("data"))
        return float(total) / self.case.axes.size("data")
