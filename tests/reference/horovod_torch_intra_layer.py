"""Column- and row-split pairs with two autograd functions around hvd.allreduce."""

from collections.abc import Callable

import horovod.torch as hvd
import torch
from torch import nn

from tests.reference.common import BATCH, WIDTHS, batch, report


class Enter(torch.autograd.Function):
    @staticmethod
    def forward(context, x):  # noqa: ANN001, ANN205
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):  # noqa: ANN001, ANN205
        return hvd.allreduce(gradient, op=hvd.Sum, name="enter")


class Merge(torch.autograd.Function):
    @staticmethod
    def forward(context, part, name):  # noqa: ANN001, ANN205
        return hvd.allreduce(part, op=hvd.Sum, name=name)

    @staticmethod
    def backward(context, gradient):  # noqa: ANN001, ANN205
        return gradient, None


def build() -> Callable[[], object]:
    torch.manual_seed(0)
    half = WIDTHS[1] // hvd.size()
    columns = [nn.Linear(WIDTHS[i], half) for i in (0, 2)]
    rows = [nn.Linear(half, WIDTHS[i]) for i in (2, 4)]
    head = nn.Linear(WIDTHS[4], WIDTHS[5])
    model = nn.ModuleList([*columns, *rows, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = (torch.from_numpy(array) for array in batch(BATCH))
    y = y.long()

    def step() -> None:
        optimizer.zero_grad()
        h = x
        for index, (column, row) in enumerate(zip(columns, rows, strict=True)):
            h = nn.functional.gelu(column(Enter.apply(h)), approximate="tanh")
            part = Merge.apply(nn.functional.linear(h, row.weight), f"merge{index}")
            h = nn.functional.gelu(part + row.bias, approximate="tanh")
        nn.functional.cross_entropy(head(h), y).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build())
    hvd.shutdown()
