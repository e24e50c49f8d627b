"""DistributedDataParallel over gloo."""

import os

import torch
import torch.distributed as dist
from common import BATCH, WIDTHS, batch, report
from torch import nn
from torch.nn.parallel import DistributedDataParallel

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)
dist.init_process_group("gloo", os.environ["SUITE_INIT_METHOD"], rank=rank, world_size=size)
layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
model = DistributedDataParallel(nn.Sequential(*parts, layers[-1]), gradient_as_bucket_view=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x, y = (torch.from_numpy(array).chunk(size)[rank] for array in batch(BATCH))
y = y.long()


def step() -> None:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


report(step)
dist.barrier()
dist.destroy_process_group()
