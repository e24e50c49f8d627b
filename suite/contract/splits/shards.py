"""Intra-layer splits as data: which axis of which parameter is divided over the devices."""

from __future__ import annotations

from suite.contract.workloads.workload import Branch, Workload

# Axis of the channels in what acts on each channel alone.
CHANNEL_AXES = {"scale": 0, "bias": 0, "depthwise": 2, "table": 1}


def shard_axes(workload: Workload) -> dict[str, int]:
    """Parameter name -> axis split over the devices; a name that is absent is replicated.

    Column split (last axis, bias axis 0) feeds a row split (the axis before it, bias replicated),
    so that a branch needs one all-reduce forward and one backward (Shoeybi et al. 2019).
    """
    shapes = workload.shapes()
    axes: dict[str, int] = {}
    for branch in workload.branches():
        for column in branch.columns:
            axes |= {f"{column}.weight": len(shapes[f"{column}.weight"]) - 1, f"{column}.bias": 0}
        for layer in branch.channels:
            axes |= {f"{layer}.{leaf}": axis for leaf, axis in CHANNEL_AXES.items()}
        rows = [branch.row]
        if branch.middle:
            column = branch.middle.column
            axes |= {f"{column}.weight": len(shapes[f"{column}.weight"]) - 1, f"{column}.bias": 0}
            rows.append(branch.middle.row)
        axes |= {f"{row}.weight": len(shapes[f"{row}.weight"]) - 2 for row in rows}
    return {name: axis for name, axis in axes.items() if name in shapes}


def branch_parameters(workload: Workload, branch: Branch) -> list[str]:
    """The parameters that the devices of a branch hold shards of."""
    middle = (branch.middle.row, branch.middle.column) if branch.middle else ()
    layers = (*branch.columns, *branch.channels, *middle, branch.row)
    return [name for name in shard_axes(workload) if name.rpartition(".")[0] in layers]
