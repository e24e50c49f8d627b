"""A rank's parts of layers, joined by two autograd functions around an all-reduce."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.reference.torch_models import Split

Reduce = Callable[[torch.Tensor, str], torch.Tensor]  # of a tensor, under a name


def summed(tensor: torch.Tensor, reduce: Reduce, name: str) -> torch.Tensor:
    """Images as they are in memory, channels last."""
    if tensor.dim() < 4:
        return reduce(tensor.contiguous(), name)
    return reduce(tensor.permute(0, 2, 3, 1).contiguous(), name).permute(0, 3, 1, 2)


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, reduce: Reduce, name: str) -> torch.Tensor:
        context.reduce, context.name = reduce, name
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return summed(gradient, context.reduce, f"enter.{context.name}"), None, None


class Merge(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part: torch.Tensor, reduce: Reduce, name: str) -> torch.Tensor:
        return summed(part, reduce, f"merge.{name}")

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient, None, None


class Row(nn.Module):
    """A layer split by its inputs; its bias is added once."""

    def __init__(self, part: nn.Linear | nn.Conv2d, reduce: Reduce, name: str) -> None:
        super().__init__()
        self.part, self.bias, self.reduce, self.name = part, part.bias, reduce, name
        part.bias = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = Merge.apply(self.part(x), self.reduce, self.name)
        return whole if self.bias is None else whole + self.bias


def keep_part(layer: nn.Module, leaf: str, axis: int, rank: int, size: int) -> None:
    part = layer.get_parameter(leaf).detach().chunk(size, axis)[rank]
    setattr(layer, leaf, nn.Parameter(part.clone(memory_format=torch.preserve_format)))
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:  # a filter for each channel
        layer.groups = len(part)


def split_layers(
    model: nn.Module, splits: list[Split], rank: int, size: int, reduce: Reduce
) -> None:
    for split in splits:
        for column in map(model.get_submodule, split.columns):
            for leaf in [name for name, _ in column.named_parameters(recurse=False)]:
                keep_part(column, leaf, 0, rank, size)
        for name in split.rows:
            row = model.get_submodule(name)
            assert isinstance(row, nn.Linear | nn.Conv2d)
            keep_part(row, "weight", 1, rank, size)
            model.set_submodule(name, Row(row, reduce, name))
        for name in split.entries:
            model.get_submodule(name).register_forward_pre_hook(
                lambda module, inputs, name=name: (
                    Enter.apply(inputs[0], reduce, name), *inputs[1:]
                )
            )
