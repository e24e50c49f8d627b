"""Two pipeline stages, GPipe with four micro-batches."""

import os

import torch
import torch.distributed as dist
from common import BATCH, WIDTHS, batch, report
from torch import nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)
dist.init_process_group("gloo", os.environ["SUITE_INIT_METHOD"], rank=rank, world_size=size)
layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
model = nn.Sequential(*[*parts, layers[-1]][slice(0, 6) if rank == 0 else slice(6, None)])
stage = PipelineStage(model, rank, size, torch.device("cpu"))
schedule = ScheduleGPipe(stage, 2 * size, loss_fn=nn.functional.cross_entropy)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x, y = (torch.from_numpy(array) for array in batch(BATCH))
y = y.long()


def step() -> None:
    optimizer.zero_grad()
    if rank == 0:
        schedule.step(x, return_outputs=False)
    else:
        schedule.step(target=y, losses=[], return_outputs=False)
    optimizer.step()


report(step)
dist.barrier()
dist.destroy_process_group()
