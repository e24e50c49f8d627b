"""Recomputation (activation checkpointing): which models gain by it."""

from __future__ import annotations

from collections import Counter

from suite.contract.workloads.workload import Workload

# Leaves that make a layer; biases and scales belong to one.
LAYERS = ("weight", "depthwise", "table")


def unrecomputable(workload: Workload) -> str:
    """Says why recomputing the units of a workload would free nothing.

    Of a recomputed unit only its input is kept (Chen et al. 2016). A single layer needs nothing but
    its input for the backward pass anyway, so a model whose units are single layers keeps as much
    as before and computes more.

    Args:
        workload: The workload to train.

    Returns:
        The reason, or an empty text if at least one unit has several layers.
    """
    units = set(workload.units())
    layers = Counter(
        name.split(".")[0] for name in workload.shapes() if name.rpartition(".")[2] in LAYERS
    )
    if any(layers[unit] > 1 for unit in units):
        return ""
    return (f"every unit of {workload.name} is a single layer, which keeps nothing but its input: "
            "recomputing it frees nothing")
