"""The least memory that a case can do with, worked out from its workload before anything starts.

Counted is what a training step cannot be without: parameters, gradients and Adam's two moments, the
output of every layer that has a weight, the logits, and the batch itself. Workspace, copies and
what a framework needs for itself come on top, so a case that this much does not fit cannot run.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from suite.contract.case import Case
from suite.contract.splits.strategies import ZERO
from suite.contract.workloads import Workload, parameter_count

# A parameter, its gradient and two moments of Adam; a proof copies parameters and gradients.
STATES, PROVEN = 4, 2
ALTERNATING = ("1f1b", "interleaved")


@dataclass(frozen=True)
class LeastMemory:
    """The least memory of one case.

    Attributes:
        host_bytes: What all its processes together need of the machine's memory.
        device_bytes: What it needs of the memory of one GPU; 0 for a case on CPU devices.
    """

    host_bytes: int
    device_bytes: int = 0


def least_memory(case: Case, batches: int = 1) -> LeastMemory:
    """Works out the least memory of a case; more samples never need less.

    Args:
        case: The case.
        batches: How many global batches its file of inputs holds.
    """
    entry = 8 if case.dtype == "float64" else 4
    spec = case.spec
    weights = parameter_count(spec)
    held = weights * (case.axes.size("data") if _copied(case) else 1) * STATES * entry
    batch = batches * spec.global_batch * sample_bytes(spec)
    computed = round(_samples_at_once(case) * _kept_entries(case)) * _activation_bytes(case)
    # Every process reads the whole of the batches, then makes tensors of its own share.
    processes = 1 if case.placed else case.devices
    host = processes * batch + PROVEN * weights * entry
    if case.device == "cpu":
        return LeastMemory(host + held + batch + computed)
    return LeastMemory(host, (held + batch + computed) // case.devices)


def sample_bytes(spec: Workload) -> int:
    """Returns the bytes of a sample's features and targets in the file of the inputs."""
    return sum(prod(one.shape) * np.dtype(one.dtype).itemsize
               for one in (spec.features, spec.targets))


def _copied(case: Case) -> bool:
    """Tells whether each replica holds all parameters itself, with gradients and moments."""
    return "data" in case.axes.names and case.variant not in ZERO


def _samples_at_once(case: Case) -> float:
    """Counts the samples whose activations are in memory together, over all devices."""
    parts = max(case.accumulate, case.statistics_groups)
    if "inter_layer" in case.axes.names:
        # Others hold all micro-batches of a batch before their first backward pass.
        parts = case.micro_batches if case.variant in ALTERNATING else 1
    return case.spec.global_batch / parts


def _activation_bytes(case: Case) -> int:
    """Returns the bytes of one element of an activation."""
    return {"float64": 8, "bf16": 2}.get(case.dtype, 4)


def _kept_entries(case: Case) -> int:
    """Counts the elements that the forward pass of a sample keeps for the backward pass."""
    spec = case.spec
    if case.recomputes:
        return sum(prod(spec.boundary(unit)) for unit in range(1, len(spec.units())))
    positions = dict(zip(spec.units(), _positions(spec), strict=True))
    layers = ((name.partition(".")[0], name.rpartition(".")[2], shape)
              for name, shape in spec.shapes().items())
    widths = {"weight": -1, "depthwise": -2}
    outputs = sum(positions[unit] * shape[widths[leaf]] for unit, leaf, shape in layers
                  if unit in positions and leaf in widths)
    targets = spec.targets
    # Where not every position is predicted, a model need not compute the others' logits.
    logits = prod(targets.shape) * targets.classes if targets.lowest == 0 else 0
    return outputs + logits


def _positions(spec: Workload) -> list[int]:
    """Tokens or pixels at the end of each unit, as the next one meets them."""
    count = len(spec.units())
    if count == 1:
        return [max(1, spec.tokens_per_sample)]
    entering = [prod(spec.boundary(unit)[:-1]) for unit in range(1, count)]
    return [*entering, entering[-1]]
