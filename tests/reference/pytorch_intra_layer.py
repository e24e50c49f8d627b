"""Tensor parallel, column and row styles in pairs: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from tests.reference.common import RATE, report
from tests.reference.models_torch import cross_entropy, make_model, splits, tensors


def plan(workload: str) -> dict[str, ParallelStyle]:
    styles: dict[str, ParallelStyle] = {}
    for split in splits(workload):
        if split.entry not in split.columns:  # one all-reduce backward for query, key and value
            styles[split.entry] = PrepareModuleInput(
                input_layouts=Replicate(), desired_input_layouts=Replicate()
            )
        styles |= {name: ColwiseParallel() for name in split.columns}
        styles[split.row] = RowwiseParallel()
    return styles


def build(workload: str = "mlp") -> Callable[[], object]:
    model = make_model(workload)
    parallelize_module(model, init_device_mesh("cpu", (dist.get_world_size(),)), plan(workload))
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
    dist.init_process_group("gloo")
    report(build)
    dist.barrier()
    dist.destroy_process_group()
