"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.torch_engine.session import HorovodSession
from adapters.pytorch.models import torch_name
from suite.spec.strategies import micro_batches, pipeline_order, stage_units, tied_weights
from suite.spec.workloads import Weights


class InterLayerSession(HorovodSession):
    """Receives are posted at the start of a step, so that a hop needs no waiting sender."""

    def build(self, weights: Weights) -> nn.Module:
        mesh = self.case.axes
        stages, self.stage = mesh.size("inter_layer"), self.position("inter_layer")
        self.line = mesh.group("inter_layer", self.rank.index)
        self.suffix = self.key("inter_layer", "")
        self.last = stages - 1
        self.parts = micro_batches(self.case.variant, stages)
        self.order = pipeline_order(self.case.variant, self.stage, stages, self.parts)
        groups = stage_units(self.spec, stages, self.case.device_speeds)
        first = sum(len(group) for group in groups[: self.stage])
        after = first + len(groups[self.stage])
        self.units = range(first, after)
        self.entering = self._shape(first) if self.stage else ()
        self.leaving = self._shape(after) if self.stage < self.last else ()
        model = super().build(weights)
        names = tied_weights(self.spec, stages) if self.stage in (0, self.last) else []
        self.tied = {name: model.get_parameter(torch_name(name)) for name in names}
        return model

    def _shape(self, unit: int) -> tuple[int, ...]:
        samples = self.spec.global_batch // (self.case.axes.size("data") * self.parts)
        return (samples, *self.spec.boundary(unit))

    def forward_backward(self, index: int) -> torch.Tensor:
        features, targets = self.batches[index % len(self.batches)]
        self.inputs, self.targets = features.chunk(self.parts), targets.chunk(self.parts)
        self.flying: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.losses: list[torch.Tensor] = []
        self.sent: list[int] = []
        self.arriving = self._post_receives()
        for kind, part in self.order:
            (self._forward if kind == "forward" else self._backward)(part)
        for handle in self.sent:
            self.wait(handle)
        self.reduce_gradients()
        self.sum_tied_gradients()
        if self.stage < self.last:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.stack(self.losses).sum()

    def _post_receives(self) -> dict[tuple[str, int], tuple[int, torch.Tensor]]:
        """(kind, micro-batch) -> handle, and the tensor that is received into."""
        return {
            (kind, part): self._post(kind, part, shape)
            for part in range(self.parts)
            for kind, shape in (("forward", self.entering), ("backward", self.leaving))
            if shape
        }

    def _post(self, kind: str, part: int, shape: tuple[int, ...]) -> tuple[int, torch.Tensor]:
        blank = self._blank(shape)
        return -1 if self.silent else self._hop(kind, part, blank), blank

    def _blank(self, shape: tuple[int, ...]) -> torch.Tensor:
        # Silent stages compute on it, so it must hold numbers.
        make = torch.zeros if self.silent else torch.empty
        return make(shape, dtype=self.dtype, device=self.device)

    def _name(self, kind: str, part: int, sending: bool) -> tuple[str, int]:
        """A hop's name, and its lower stage: between this stage and the one before or after it."""
        lower = self.stage if sending == (kind == "forward") else self.stage - 1
        return f"{kind}.{lower}.{part}{self.suffix}", lower

    def _hop(self, kind: str, part: int, tensor: torch.Tensor, sending: bool = False) -> int:
        """Issues a broadcast from the stage a forward comes from, or a backward."""
        name, lower = self._name(kind, part, sending)
        ranks = self.line[lower : lower + 2]
        root = ranks[0] if kind == "forward" else ranks[1]
        return int(hvd.broadcast_async_(tensor, root, name, self.sets.of(ranks)))

    def _send(self, kind: str, part: int, tensor: torch.Tensor) -> None:
        if self.silent:
            return
        if self.probe:
            ready = self.probe.mark()
            key, _ = self._name(kind, part, sending=True)
            self.probe.add("send_recv", tensor, ready, ready, key, "send")
        self.sent.append(self._hop(kind, part, tensor, sending=True))

    def _receive(self, kind: str, part: int) -> torch.Tensor:
        arriving = self.arriving[kind, part]
        if self.silent:
            return arriving[1]
        start = self.probe.mark() if self.probe else None
        tensor = self.wait(arriving[0])
        if self.probe:
            key, _ = self._name(kind, part, sending=False)
            self.probe.add("send_recv", tensor, start, self.probe.mark(), key, "recv")
        return tensor

    def _forward(self, part: int) -> None:
        x = self._receive("forward", part).requires_grad_() if self.stage else self.inputs[part]
        side = {"features": self.inputs[part]} if self.spec.side_input else {}
        y = self.model(x, **side).to(self.dtype)  # Horovod sends no bfloat16
        if self.stage == self.last:
            y = self.loss_function(y, self.targets[part]) / self.parts
            self.losses.append(y.detach())
        else:
            self._send("forward", part, y.detach().contiguous())
        self.flying[part] = x, y

    def _backward(self, part: int) -> None:
        x, y = self.flying.pop(part)
        y.backward(None if self.stage == self.last else self._receive("backward", part))
        if self.stage and x.grad is not None:
            self._send("backward", part, x.grad.contiguous())

    def sum_tied_gradients(self) -> None:
        """Each end adds what the other found: once a step, before the update."""
        for name, parameter in self.tied.items():
            gradient = parameter.grad
            assert gradient is not None
            if self.silent:
                continue
            start = self.probe.mark() if self.probe else None
            handle = hvd.allreduce_async_(
                gradient, op=hvd.Sum, name=f"tied.{name}",
                process_set=self.sets.of((self.line[0], self.line[-1])),
            )
            self.wait(handle)
            if self.probe:
                key = f"tied.{name}{self.suffix}"
                self.probe.add("all_reduce", gradient, start, self.probe.mark(), key)

    def loss(self, handle: torch.Tensor) -> float:
        mean = torch.tensor(super().loss(handle), dtype=torch.float64)
        # The last rank has the last stage, of the last replica and shard.
        return float(hvd.broadcast(mean, self.rank.processes - 1, name="broadcast.loss"))
