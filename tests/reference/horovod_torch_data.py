"""DistributedOptimizer around Adam: horovodrun -np 2 --gloo python -m …."""

from collections.abc import Callable

import horovod.torch as hvd
import torch
from torch import nn

from tests.reference.common import BATCH, WIDTHS, batch, report


def build() -> Callable[[], object]:
    layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
    parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
    model = nn.Sequential(*parts, layers[-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    x, y = (torch.from_numpy(array).chunk(hvd.size())[hvd.rank()] for array in batch(BATCH))
    y = y.long()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build())
    hvd.shutdown()
