"""The workloads written natively in PyTorch; the models know nothing of parallelism.

The module of a workload has two functions. ``build(spec, units) -> nn.Module`` makes the whole
model, or the contiguous units of a pipeline stage. The first stage also holds the layers before the
units, the last stage the layers after them. ``loss(spec)`` returns a function of logits and
targets that computes the mean loss. A unit is the submodule ``units.<number>``. If a workload has a
side input, its model also accepts ``features=``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch
from torch import nn

from suite.contract.errors import UsageError
from suite.contract.workloads import Weights, Workload

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
UNIT = re.compile(r"[a-z]+(\d+)")
# The canonical axis at each axis of PyTorch, by leaf and number of dimensions: linear layers are
# (out, in) and convolutions (out, in, height, width) in PyTorch.
LAYOUTS = {("weight", 2): (1, 0), ("weight", 4): (3, 2, 0, 1), ("depthwise", 4): (2, 3, 0, 1)}
# Canonical leaves that PyTorch calls otherwise.
LEAVES = {"table": "weight", "scale": "weight", "depthwise": "weight"}


def build_model(spec: Workload, weights: Weights, units: range | None = None) -> nn.Module:
    """Builds a model, or a pipeline stage of it, and copies the initial weights into it.

    Args:
        spec: The workload.
        weights: Canonical name to float32 array; it may hold more than the stage needs.
        units: Contiguous units of the stage; None builds the whole model.

    Returns:
        The module, on the CPU.

    Raises:
        UsageError: The module has a parameter that the workload's ``shapes()`` does not name.
    """
    model: nn.Module = import_module(spec.torch_module).build(spec, units)
    _load_weights(spec, model, weights)
    return model


def loss_function(spec: Workload) -> Loss:
    """Returns the workload's loss: (logits, targets) to the mean over samples and tokens."""
    loss: Loss = import_module(spec.torch_module).loss(spec)
    return loss


def torch_path(canonical: str) -> str:
    """Turns ``block0.attention`` into ``units.0.attention``; other parts keep their path."""
    head, _, rest = canonical.partition(".")
    unit = UNIT.fullmatch(head)
    path = f"units.{unit[1]}" if unit else head
    return f"{path}.{rest}" if rest else path


def torch_name(canonical: str) -> str:
    """Turns ``block0.norm1.scale`` into ``units.0.norm1.weight``: PyTorch's parameter name."""
    path, _, leaf = canonical.rpartition(".")
    return f"{torch_path(path)}.{LEAVES.get(leaf, leaf)}"


def layout(canonical: str, dimensions: int) -> tuple[int, ...]:
    """Says how a canonical array is transposed to PyTorch's layout.

    Args:
        canonical: Canonical parameter name; its leaf decides.
        dimensions: Number of dimensions of the array.

    Returns:
        For each axis in PyTorch's layout the canonical axis, as ``numpy.transpose`` takes them.
    """
    leaf = canonical.rpartition(".")[2]
    return LAYOUTS.get((leaf, dimensions), tuple(range(dimensions)))


def to_torch(canonical: str, array: np.ndarray) -> torch.Tensor:
    """Converts a canonical array to a tensor in PyTorch's layout, on the CPU."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(layout(canonical, array.ndim))))


def to_canonical(canonical: str, tensor: torch.Tensor) -> np.ndarray:
    """Copies a tensor in PyTorch's layout to a canonical NumPy array of the same type."""
    array = tensor.detach().to("cpu", copy=True).numpy()
    axes = layout(canonical, array.ndim)
    return np.ascontiguousarray(array.transpose(np.argsort(axes)))


def _load_weights(spec: Workload, model: nn.Module, weights: Weights) -> None:
    """Copies the canonical weights into the model; a stage holds only some of them."""
    parameters = dict(model.named_parameters())
    canonicals = {torch_name(name): name for name in weights if torch_name(name) in parameters}
    unknown = ", ".join(sorted(parameters.keys() - canonicals.keys()))
    if unknown:
        raise UsageError(f"parameters of {spec.torch_module}", unknown, "those of shapes()",
                         "name them alike in both")
    with torch.no_grad():
        for name, canonical in canonicals.items():
            parameters[name].copy_(to_torch(canonical, weights[canonical]))
