"""Opens a PyTorch case in a rank."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

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
    strategy = case.strategy
    if case.variant == "fsdp":
        from adapters.pytorch.fully_sharded import FullyShardedSession

        return FullyShardedSession
    if strategy == "data":
        from adapters.pytorch.data import DataSession

        return DataSession
    if strategy == "intra_layer":
        from adapters.pytorch.intra_layer import IntraLayerSession

        return IntraLayerSession
    from adapters.pytorch.inter_layer import InterLayerSession

    return InterLayerSession


class GroupSession(Training):
    """A rank of a ``torch.distributed`` group."""

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
    """Contiguous shards of the global batch; equal shards make a mean of means the batch's mean."""

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        share = batch_slice(len(features), self.case.devices, self.rank.index)
        return features[share], targets[share]

    def loss(self, handle: torch.Tensor) -> float:
        total = handle.clone()
        dist.all_reduce(total)
        return float(total) / self.rank.processes
