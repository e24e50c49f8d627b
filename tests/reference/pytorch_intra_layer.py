"""Tensor parallel on a device mesh: torchrun --nproc-per-node 2 -m …

Linear layers have parallelize_module; what is split by channels or heads besides has no style
there and is split by hand, with dist.all_reduce.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from tests.reference.common import RATE, report
from tests.reference.torch_models import Split, cross_entropy, make_model, splits, tensors
from tests.reference.torch_shards import split_layers


def plan(found: list[Split]) -> dict[str, ParallelStyle]:
    styles: dict[str, ParallelStyle] = {}
    for split in found:
        for entry in set(split.entries) - set(split.columns):
            # One all-reduce backward for query, key and value.
            styles[entry] = PrepareModuleInput(
                input_layouts=Replicate(), desired_input_layouts=Replicate()
            )
        styles |= {name: ColwiseParallel() for name in split.columns}
        styles |= {name: RowwiseParallel() for name in split.rows}
    return styles


def all_reduce(tensor: torch.Tensor, name: str) -> torch.Tensor:
    dist.all_reduce(tensor)
    return tensor


def build(workload: str = "mlp") -> Callable[[], object]:
    rank, size = dist.get_rank(), dist.get_world_size()
    model = make_model(workload)

    def linear(split: Split) -> bool:
        layers = map(model.get_submodule, (*split.columns, *split.rows))
        return all(isinstance(layer, nn.Linear) for layer in layers)

    found = splits(workload)
    styles = plan([split for split in found if linear(split)])
    split_layers(model, [split for split in found if not linear(split)], rank, size, all_reduce)
    parallelize_module(model, init_device_mesh("cpu", (size,)), styles)
    kinds = [[p for p in model.parameters() if isinstance(p, DTensor) == split]
             for split in (True, False)]  # a fused update takes no mixture
    groups = [{"params": kind} for kind in kinds if kind]
    optimizer = torch.optim.Adam(groups, lr=RATE[workload], fused=True)
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
