"""Intra-layer (tensor-parallel) plans: which axis of which parameter is sharded."""

from __future__ import annotations

from suite.contract.workloads.workload import Branch, Workload

# The channel axis of each kind of parameter that acts on every channel separately.
CHANNEL_AXES = {"scale": 0, "bias": 0, "depthwise": 2, "table": 1}


def shard_axes(workload: Workload) -> dict[str, int]:
    """Says along which axis each parameter is sharded.

    A column-parallel layer (its weight is split along the last axis, its bias along axis 0) feeds a
    row-parallel layer (its weight is split along the second to last axis, its bias is replicated).
    A branch built like that needs a single all-reduce in the forward pass and a single one in the
    backward pass (Shoeybi et al. 2019).

    Args:
        workload: The workload whose branches are sharded.

    Returns:
        Canonical parameter name to axis. A parameter that is absent is replicated on all devices.
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
    """Returns the canonical names of the sharded parameters of a branch."""
    middle = (branch.middle.row, branch.middle.column) if branch.middle else ()
    layers = (*branch.columns, *branch.channels, *middle, branch.row)
    return [name for name in shard_axes(workload) if name.rpartition(".")[0] in layers]
