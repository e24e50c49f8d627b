"""DistributedOptimizer around Adam: horovodrun -np 2 --gloo python -m …."""

from collections.abc import Callable

import horovod.torch as hvd
import torch

from tests.reference.common import RATE, report
from tests.reference.torch_models import cross_entropy, make_model, tensors


def build(workload: str = "mlp") -> Callable[[], object]:
    model = make_model(workload)
    # Horovod refuses tensors whose channels come last in memory.
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    x, y = (tensor.chunk(hvd.size())[hvd.rank()] for tensor in tensors(workload))

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
