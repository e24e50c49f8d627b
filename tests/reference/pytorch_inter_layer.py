"""Two pipeline stages, GPipe with four micro-batches: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from tests.reference.common import BATCH, WIDTHS, batch, report


def build() -> Callable[[], object]:
    rank, size = dist.get_rank(), dist.get_world_size()
    layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
    parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
    model = nn.Sequential(*[*parts, layers[-1]][slice(0, 4) if rank == 0 else slice(4, None)])
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

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    report(build())
    dist.barrier()
    dist.destroy_process_group()
