"""Opens a PyTorch case in a rank."""

from __future__ import annotations

import os

import torch.distributed as dist

from adapters.pytorch.models.training import Training, open_device
from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    device = open_device(case, rank)
    if case.strategy == "single":
        return Training(case, rank, weights, inputs, device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    method = os.environ["SUITE_INIT_METHOD"]
    dist.init_process_group(backend, method, rank=rank.index, world_size=rank.processes)
    return _session_class(case.strategy)(case, rank, weights, inputs, device)


def _session_class(strategy: str) -> type[GroupSession]:
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

    def close(self) -> None:
        # A rank that leaves early tears its sockets from under the others' last collective.
        dist.barrier()
        dist.destroy_process_group()
