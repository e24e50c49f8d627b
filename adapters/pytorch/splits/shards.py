"""One rank's parts of a layer, and the two functions that join parts (Shoeybi et al. 2019).

Both torch adapters use these, each with its own all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import layout, torch_name
from suite.contract.splits.shards import shard_axes
from suite.contract.workloads import Workload

# Adds a tensor up over the ranks.
Reduce = Callable[[torch.Tensor], torch.Tensor]


class Enter(torch.autograd.Function):
    """The identity in the forward pass; backward it sums the ranks' gradients ("f")."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, reduce: Reduce) -> torch.Tensor:
        """Returns ``x``, of any shape, and keeps ``reduce`` for the backward pass."""
        context.reduce = reduce
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the sum of the ranks' gradients, of the shape of ``x``."""
        return _reduced(gradients[0], context.reduce), None


class Merge(torch.autograd.Function):
    """Sums the ranks' parts in the forward pass; backward it is the identity ("g")."""

    @staticmethod
    def forward(context: Any, part: torch.Tensor, reduce: Reduce) -> torch.Tensor:
        """Returns the sum of the ranks' parts, which all have the same shape."""
        return _reduced(part, reduce)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the gradient as it is."""
        return gradients[0], None


def _reduced(tensor: torch.Tensor, reduce: Reduce) -> torch.Tensor:
    """Adds a tensor up over the ranks.

    Images keep their channels last: the collective gets them as rows, and they are returned so.
    """
    if tensor.dim() != 4 or tensor.is_contiguous():
        return reduce(tensor.contiguous())
    return reduce(tensor.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def torch_axes(spec: Workload) -> dict[str, dict[str, int]]:
    """Returns along which axis each parameter is split, in PyTorch's layout.

    Returns:
        Path of each layer that is split, to its parameters, to the axis.
    """
    axes: dict[str, dict[str, int]] = {}
    shapes = spec.shapes()
    for name, axis in shard_axes(spec).items():
        path, _, leaf = torch_name(name).rpartition(".")
        axes.setdefault(path, {})[leaf] = layout(name, len(shapes[name])).index(axis)
    return axes


def keep_shard(layer: nn.Module, leaf: str, axis: int, rank: int, ranks: int) -> None:
    """Leaves only this rank's part of a parameter in its layer.

    A depthwise convolution then also has fewer groups.

    Args:
        layer: The layer.
        leaf: Name of the parameter in the layer.
        axis: Axis along which it is split, in PyTorch's layout.
        rank: This rank's position.
        ranks: Number of parts.
    """
    whole = layer.get_parameter(leaf).detach()
    part = whole.chunk(ranks, axis)[rank].clone(memory_format=torch.preserve_format)
    setattr(layer, leaf, nn.Parameter(part))
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        layer.groups = part.shape[0]


def merge_output(layer: nn.Linear | nn.Conv2d, reduce: Reduce) -> None:
    """Makes a layer that is split by its inputs add up the parts of all ranks.

    The bias is added once, to the sum.

    Args:
        layer: The layer.
        reduce: Adds a tensor up over the ranks.
    """
    convolves = isinstance(layer, nn.Conv2d)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if isinstance(layer, nn.Conv2d):
            part = layer._conv_forward(x, layer.weight, None)
        else:
            part = nn.functional.linear(x, layer.weight)
        whole: torch.Tensor = Merge.apply(part, reduce)
        if layer.bias is None:
            return whole
        bias = layer.bias.to(whole.dtype)
        return whole + (bias[:, None, None] if convolves else bias)

    layer.forward = forward  # type: ignore[method-assign, assignment]


def enter(module: nn.Module, reduce: Reduce) -> None:
    """Makes the first input of a module sum the gradients of all ranks in the backward pass.

    Args:
        module: The module.
        reduce: Adds a tensor up over the ranks.
    """
    module.register_forward_pre_hook(
        lambda _module, inputs: (Enter.apply(inputs[0], reduce), *inputs[1:])
    )
