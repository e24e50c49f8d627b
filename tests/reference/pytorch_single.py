"""A training loop on one device."""

from collections.abc import Callable

import torch

from tests.reference.common import RATE, report
from tests.reference.torch_models import cross_entropy, in_groups, make_model, tensors


def build(workload: str = "mlp", groups: int = 1) -> Callable[[], object]:
    model = make_model(workload)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
    x, y = tensors(workload)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(in_groups(model, x, groups), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    report(build)
