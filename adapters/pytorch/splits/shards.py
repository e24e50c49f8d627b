"""Parts of a layer on one rank, and the two functions that join them (Shoeybi et al. 2019).

Both torch adapters split with these; each brings its own all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import layout, torch_name
from suite.contract.splits.shards import shard_axes
from suite.contract.workloads import Workload

Reduce = Callable[[torch.Tensor], torch.Tensor]


class Enter(torch.autograd.Function):
    """Identity forward, sum of the ranks' gradients backward ("f")."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, reduce: Reduce) -> torch.Tensor:
        """The forward pass; see the class for shapes."""
        context.reduce = reduce
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient of ``forward``."""
        return _reduced(gradients[0], context.reduce), None


class Merge(torch.autograd.Function):
    """Sum of the ranks' parts forward, identity backward ("g")."""

    @staticmethod
    def forward(context: Any, part: torch.Tensor, reduce: Reduce) -> torch.Tensor:
        """The forward pass; see the class for shapes."""
        return _reduced(part, reduce)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient of ``forward``."""
        return gradients[0], None


def _reduced(tensor: torch.Tensor, reduce: Reduce) -> torch.Tensor:
    """Images keep their channels last: a collective takes them as rows and returns them so."""
    if tensor.dim() != 4 or tensor.is_contiguous():
        return reduce(tensor.contiguous())
    return reduce(tensor.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def torch_axes(spec: Workload) -> dict[str, dict[str, int]]:
    """Path of each layer that is split -> its parameters -> the axis, in PyTorch's layout."""
    axes: dict[str, dict[str, int]] = {}
    shapes = spec.shapes()
    for name, axis in shard_axes(spec).items():
        path, _, leaf = torch_name(name).rpartition(".")
        axes.setdefault(path, {})[leaf] = layout(name, len(shapes[name])).index(axis)
    return axes


def keep_shard(layer: nn.Module, leaf: str, axis: int, rank: int, ranks: int) -> None:
    """Leaves this rank's part of a parameter; a depthwise convolution has fewer groups then."""
    whole = layer.get_parameter(leaf).detach()
    part = whole.chunk(ranks, axis)[rank].clone(memory_format=torch.preserve_format)
    setattr(layer, leaf, nn.Parameter(part))
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        layer.groups = part.shape[0]


def merge_output(layer: nn.Linear | nn.Conv2d, reduce: Reduce) -> None:
    """Makes a layer split by its inputs add up its ranks' parts; the bias is added once."""
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
    """Makes the first input of ``module`` gather the gradients of all ranks."""
    module.register_forward_pre_hook(
        lambda _module, inputs: (Enter.apply(inputs[0], reduce), *inputs[1:])
    )
