"""Tensor parallel, column and row styles in pairs: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from tests.reference.common import BATCH, WIDTHS, batch, report


def build() -> Callable[[], object]:
    torch.manual_seed(0)
    layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
    parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
    model = nn.Sequential(*parts, layers[-1])
    columns, rows = ColwiseParallel(), RowwiseParallel()
    plan = {"0": columns, "2": rows, "4": columns, "6": rows}
    parallelize_module(model, init_device_mesh("cpu", (dist.get_world_size(),)), plan)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = (torch.from_numpy(array) for array in batch(BATCH))
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
