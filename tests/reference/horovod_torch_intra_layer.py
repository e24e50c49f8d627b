"""Column- and row-split layers with two autograd functions around hvd.allreduce."""

from collections.abc import Callable

import horovod.torch as hvd
import torch

from tests.reference.common import RATE, report
from tests.reference.torch_models import cross_entropy, make_model, splits, tensors
from tests.reference.torch_shards import split_layers


def build(workload: str = "mlp") -> Callable[[], object]:
    model = make_model(workload)
    split_layers(
        model, splits(workload), hvd.rank(), hvd.size(),
        lambda tensor, name: hvd.allreduce(tensor, op=hvd.Sum, name=name),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
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
    hvd.init()
    report(build)
    hvd.shutdown()
