"""Data-parallel plans: which samples of the global batch each device takes."""

from __future__ import annotations

from collections.abc import Sequence

from suite.contract.splits.mesh import mesh_of
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.shares import proportional_shares
from suite.contract.workloads.workload import Workload


def planned_shares(
    global_batch: int, devices: int, speeds: Sequence[float] = ()
) -> tuple[int, ...]:
    """Says how many samples of a global batch each replica trains on, as ``batch_slice`` deals."""
    if speeds:
        return tuple(proportional_shares(global_batch, speeds))
    return (global_batch // devices,) * devices


def dealt(shares: Sequence[int], rank: int) -> slice:
    """Says which samples are a replica's when shares lie side by side in the batch.

    Args:
        shares: Samples of every replica.
        rank: The replica whose samples are asked for, from 0.
    """
    return slice(sum(shares[:rank]), sum(shares[: rank + 1]))


def batch_slice(
    global_batch: int, devices: int, rank: int, speeds: Sequence[float] = ()
) -> slice:
    """Says which samples of a global batch one replica trains on.

    Args:
        global_batch: Samples in the global batch.
        devices: Number of replicas. The global batch must be a multiple of it unless ``speeds``
            are given.
        rank: The replica whose samples are asked for, from 0.
        speeds: Relative speed of each replica. When given, shares are in proportion to speed.

    Returns:
        A contiguous range of sample indices; the ranges of all ranks together cover the batch.
    """
    return dealt(planned_shares(global_batch, devices, speeds), rank)


def statistics_groups(
    workload: Workload, strategy: str, variant: str, devices: int, mesh: str = "",
    accumulate: int = 1,
) -> int:
    """Counts the parts of a global batch over which batch statistics are taken separately.

    Each replica, and each micro-batch within it, normalises with its own statistics, so the
    reference on one device has to cut its batch into as many equal contiguous parts.

    Args:
        workload: The workload; only one with batch normalisation depends on the split.
        strategy: Strategy name, such as ``data`` or ``data+inter_layer``.
        variant: Variant of the strategy, such as ``gpipe``.
        devices: Number of devices in all.
        mesh: Sizes of a combined strategy's axes, ``data=2,inter_layer=2``; empty for balanced.
        accumulate: Micro-batches whose gradients are accumulated before an update.

    Returns:
        Replicas times micro-batches per replica; 1 for a workload without batch statistics.
    """
    if not workload.batch_statistics:
        return 1
    sizes = mesh_of(strategy, devices, mesh)
    staged = "inter_layer" in sizes.names
    stages = sizes.size("inter_layer")
    parts = micro_batches(variant, stages, accumulate) if staged else accumulate
    return sizes.size("data") * parts
