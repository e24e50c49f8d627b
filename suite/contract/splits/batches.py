"""Data-parallel splits as data: which samples of the global batch each device takes."""

from __future__ import annotations

from collections.abc import Sequence

from suite.contract.splits.mesh import mesh_of
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.shares import proportional_shares
from suite.contract.workloads.workload import Workload


def batch_slice(
    global_batch: int, devices: int, rank: int, speeds: Sequence[float] = ()
) -> slice:
    """The contiguous samples of ``rank``: in proportion to its speed where ``speeds`` are given."""
    if speeds:
        shares = proportional_shares(global_batch, speeds)
        return slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    share = global_batch // devices
    return slice(rank * share, (rank + 1) * share)


def statistics_groups(
    workload: Workload, strategy: str, variant: str, devices: int, mesh: str = "",
    accumulate: int = 1,
) -> int:
    """Equal contiguous parts of a global batch that pass through the model on their own.

    1 where samples do not see each other: then parts change nothing.
    """
    if not workload.batch_statistics:
        return 1
    sizes = mesh_of(strategy, devices, mesh)
    staged = "inter_layer" in sizes.names
    stages = sizes.size("inter_layer")
    parts = micro_batches(variant, stages, accumulate) if staged else accumulate
    return sizes.size("data") * parts
