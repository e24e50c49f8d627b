"""DistributedDataParallel over gloo: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.reference.common import BATCH, WIDTHS, batch, report


def build() -> Callable[[], object]:
    rank, size = dist.get_rank(), dist.get_world_size()
    layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
    parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
    model = DistributedDataParallel(nn.Sequential(*parts, layers[-1]), gradient_as_bucket_view=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = (torch.from_numpy(array).chunk(size)[rank] for array in batch(BATCH))
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
    dist.init_process_group("gloo")
    report(build())
    dist.barrier()
    dist.destroy_process_group()
