"""DistributedDataParallel over gloo: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.reference.common import RATE, report
from tests.reference.torch_models import cross_entropy, make_model, tensors


def build(workload: str = "mlp") -> Callable[[], object]:
    rank, size = dist.get_rank(), dist.get_world_size()
    model = DistributedDataParallel(make_model(workload), gradient_as_bucket_view=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
    x, y = (tensor.chunk(size)[rank] for tensor in tensors(workload))

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
