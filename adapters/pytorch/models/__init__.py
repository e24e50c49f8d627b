"""The workloads written natively in PyTorch; they know nothing of parallelism.

A model's module has ``build(spec, units) -> nn.Module``, the whole model or the contiguous units
that make a pipeline stage with the ends that ride with them, and ``loss(spec)``, a mean over
logits and targets. A stage's units are ``units.<number>``; where a workload has a side input, a
stage also takes ``features=``.
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
# Where PyTorch keeps the axes of a leaf: linear layers (out, in), convolutions (out, in, h, w).
LAYOUTS = {("weight", 2): (1, 0), ("weight", 4): (3, 2, 0, 1), ("depthwise", 4): (2, 3, 0, 1)}
LEAVES = {"table": "weight", "scale": "weight", "depthwise": "weight"}


def build_model(spec: Workload, weights: Weights, units: range | None = None) -> nn.Module:
    """The model, or the contiguous ``units`` of it that make a pipeline stage, with ``weights``."""
    model: nn.Module = import_module(spec.torch_module).build(spec, units)
    _load_weights(spec, model, weights)
    return model


def loss_function(spec: Workload) -> Loss:
    """Mean loss over samples (and tokens) of logits against targets."""
    loss: Loss = import_module(spec.torch_module).loss(spec)
    return loss


def torch_path(canonical: str) -> str:
    """``block0.attention`` -> ``units.0.attention``; what is no unit keeps its path."""
    head, _, rest = canonical.partition(".")
    unit = UNIT.fullmatch(head)
    path = f"units.{unit[1]}" if unit else head
    return f"{path}.{rest}" if rest else path


def torch_name(canonical: str) -> str:
    """``block0.norm1.scale`` -> ``units.0.norm1.weight``; ``layer1.bias`` -> ``units.1.bias``."""
    path, _, leaf = canonical.rpartition(".")
    return f"{torch_path(path)}.{LEAVES.get(leaf, leaf)}"


def layout(canonical: str, dimensions: int) -> tuple[int, ...]:
    """The canonical axis at each of PyTorch's."""
    leaf = canonical.rpartition(".")[2]
    return LAYOUTS.get((leaf, dimensions), tuple(range(dimensions)))


def to_torch(canonical: str, array: np.ndarray) -> torch.Tensor:
    """Canonical array -> tensor in PyTorch's layout."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(layout(canonical, array.ndim))))


def to_canonical(canonical: str, tensor: torch.Tensor) -> np.ndarray:
    """PyTorch's layout -> canonical float array, a copy on the host."""
    array = tensor.detach().to("cpu", copy=True).numpy()
    axes = layout(canonical, array.ndim)
    return np.ascontiguousarray(array.transpose(np.argsort(axes)))


def _load_weights(spec: Workload, model: nn.Module, weights: Weights) -> None:
    """Copies every canonical weight that the model holds; stages hold a part of them."""
    parameters = dict(model.named_parameters())
    held = {torch_name(name): name for name in weights if torch_name(name) in parameters}
    unknown = ", ".join(sorted(parameters.keys() - held.keys()))
    if unknown:
        raise UsageError(f"parameters of {spec.torch_module}", unknown, "those of shapes()",
                         "name them alike in both")
    with torch.no_grad():
        for name, canonical in held.items():
            parameters[name].copy_(to_torch(canonical, weights[canonical]))
