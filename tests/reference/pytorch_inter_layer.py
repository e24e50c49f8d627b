"""Two pipeline stages, GPipe with four micro-batches: torchrun --nproc-per-node 2 -m …."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from tests.reference.common import PARTS, RATE, report
from tests.reference.torch_models import cross_entropy, make_stage, side_input, tensors, tied


def build(workload: str = "mlp") -> Callable[[], object]:
    rank, size = dist.get_rank(), dist.get_world_size()
    model = make_stage(workload, rank)
    stage = PipelineStage(model, rank, size, torch.device("cpu"))
    schedule = ScheduleGPipe(stage, PARTS, loss_fn=cross_entropy)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
    x, y = tensors(workload)
    side = side_input(workload, x)

    def step() -> torch.Tensor | None:
        losses: list[torch.Tensor] = []
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(x, return_outputs=False)
        else:
            schedule.step(target=y, losses=losses, return_outputs=False, **side)
        for parameter in tied(model):
            dist.all_reduce(parameter.grad)
        optimizer.step()
        return torch.stack(losses).detach().mean() if losses else None

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    report(build)
    dist.barrier()
    dist.destroy_process_group()
