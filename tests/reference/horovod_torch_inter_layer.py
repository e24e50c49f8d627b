"""Two GPipe stages; broadcasts between two ranks stand in for sends."""

from collections.abc import Callable

import horovod.torch as hvd
import torch

from tests.reference.common import PARTS, RATE, report
from tests.reference.torch_models import (
    boundary,
    cross_entropy,
    make_stage,
    side_input,
    tensors,
    tied,
)


def build(workload: str = "mlp") -> Callable[[], object]:
    model = make_stage(workload, hvd.rank())
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[workload], fused=True)
    xs, ys = (tensor.chunk(PARTS) for tensor in tensors(workload))
    sides, shape = [side_input(workload, x) for x in xs], boundary(workload)

    def receive(sender: int, name: str) -> list[int]:
        """Posted at the start of a step, so that a sender never waits."""
        blanks = (torch.empty(shape) for _ in range(PARTS))
        return [hvd.broadcast_async_(to, sender, f"{name}{i}") for i, to in enumerate(blanks)]

    def first_stage() -> None:
        coming = receive(1, "back")
        outputs, going = [], []
        for i, x in enumerate(xs):
            outputs.append(model(x))
            sent = outputs[i].detach().contiguous()
            going.append(hvd.broadcast_async_(sent, 0, name=f"there{i}"))
        for y, handle in zip(outputs, coming, strict=True):
            y.backward(hvd.synchronize(handle))
        for handle in going:
            hvd.synchronize(handle)

    def last_stage() -> torch.Tensor:
        coming = receive(0, "there")
        inputs, losses, going = [], [], []
        for y, side, handle in zip(ys, sides, coming, strict=True):
            inputs.append(hvd.synchronize(handle).requires_grad_())
            losses.append(cross_entropy(model(inputs[-1], **side), y) / PARTS)
        for i, (x, loss) in enumerate(zip(inputs, losses, strict=True)):
            loss.backward()
            going.append(hvd.broadcast_async_(x.grad.contiguous(), 1, name=f"back{i}"))
        for handle in going:
            hvd.synchronize(handle)
        return torch.stack(losses).sum().detach()

    def step() -> torch.Tensor | None:
        optimizer.zero_grad()
        loss = None
        if hvd.rank() == 0:
            first_stage()
        else:
            loss = last_stage()
        for parameter in tied(model):
            hvd.allreduce_(parameter.grad, op=hvd.Sum, name="tied")
        optimizer.step()
        return loss

    return step


if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
