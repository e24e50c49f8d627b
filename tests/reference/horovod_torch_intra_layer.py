"""Column- and row-split pairs with two autograd functions around hvd.allreduce."""

from collections.abc import Callable
from typing import Any, cast

import horovod.torch as hvd
import torch
from torch import nn

from tests.reference.common import RATE, report
from tests.reference.models_torch import cross_entropy, make_model, splits, tensors


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, name: str) -> torch.Tensor:
        context.name = name
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return hvd.allreduce(gradient, op=hvd.Sum, name=f"enter.{context.name}"), None


class Merge(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part: torch.Tensor, name: str) -> torch.Tensor:
        return hvd.allreduce(part, op=hvd.Sum, name=f"merge.{name}")

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def piece(parameter: torch.Tensor, axis: int) -> nn.Parameter:
    return nn.Parameter(parameter.detach().chunk(hvd.size(), axis)[hvd.rank()].clone())


class Row(nn.Module):
    def __init__(self, whole: nn.Linear, name: str) -> None:
        super().__init__()
        self.weight, self.bias, self.name = piece(whole.weight, 1), whole.bias, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Merge.apply(nn.functional.linear(x, self.weight), self.name) + self.bias


def split_layers(model: nn.Sequential, workload: str) -> None:
    for split in splits(workload):
        for column in (cast("nn.Linear", model.get_submodule(name)) for name in split.columns):
            column.weight, column.bias = piece(column.weight, 0), piece(column.bias, 0)
        row = cast("nn.Linear", model.get_submodule(split.row))
        model.set_submodule(split.row, Row(row, split.row))
        model.get_submodule(split.entry).register_forward_pre_hook(
            lambda module, inputs, name=split.entry: Enter.apply(*inputs, name)
        )


def build(workload: str = "mlp") -> Callable[[], object]:
    model = make_model(workload)
    split_layers(model, workload)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload])
    x, y = tensors(workload)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
