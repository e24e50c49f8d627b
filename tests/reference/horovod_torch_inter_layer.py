"""Two GPipe stages; broadcasts between two ranks stand in for sends."""

from collections.abc import Callable

import horovod.torch as hvd
import torch
from torch import nn

from tests.reference.common import BATCH, WIDTHS, batch, report

PARTS = 4


def blank() -> torch.Tensor:
    return torch.empty(BATCH // PARTS, WIDTHS[2])


def build() -> Callable[[], object]:
    layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
    parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
    model = nn.Sequential(*[*parts, layers[-1]][slice(0, 4) if hvd.rank() == 0 else slice(4, None)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    xs, ys = (torch.from_numpy(array).chunk(PARTS) for array in batch(BATCH))
    ys = [y.long() for y in ys]

    def first_stage() -> None:
        coming = [hvd.broadcast_async_(blank(), 1, name=f"back{i}") for i in range(PARTS)]
        outputs, going = [], []
        for i, x in enumerate(xs):
            outputs.append(model(x))
            going.append(hvd.broadcast_async_(outputs[i].detach(), 0, name=f"there{i}"))
        for y, handle in zip(outputs, coming, strict=True):
            y.backward(hvd.synchronize(handle))
        for handle in going:
            hvd.synchronize(handle)

    def last_stage() -> None:
        coming = [hvd.broadcast_async_(blank(), 0, name=f"there{i}") for i in range(PARTS)]
        inputs, losses, going = [], [], []
        for y, handle in zip(ys, coming, strict=True):
            inputs.append(hvd.synchronize(handle).requires_grad_())
            losses.append(nn.functional.cross_entropy(model(inputs[-1]), y) / PARTS)
        for i, (x, loss) in enumerate(zip(inputs, losses, strict=True)):
            loss.backward()
            going.append(hvd.broadcast_async_(x.grad, 1, name=f"back{i}"))
        for handle in going:
            hvd.synchronize(handle)

    def step() -> None:
        optimizer.zero_grad()
        (first_stage if hvd.rank() == 0 else last_stage)()
        optimizer.step()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build())
    hvd.shutdown()
