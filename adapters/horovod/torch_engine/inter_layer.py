"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.common import merge_stages
from adapters.horovod.torch_engine.session import HorovodSession
from adapters.pytorch.models import build_model, torch_name
from suite.spec.strategies import micro_batches, pipeline_order, stage_units, tied_weights
from suite.spec.workloads import Weights


class InterLayerSession(HorovodSession):
    """Receives are posted at the start of a step, so that a hop needs no waiting sender."""

    def build(self, weights: Weights) -> nn.Module:
        stages, self.stage = self.case.devices, self.rank.index
        self.last = stages - 1
        self.parts = micro_batches(self.case.variant, stages)
        self.order = pipeline_order(self.case.variant, self.stage, stages, self.parts)
        groups = stage_units(self.spec, stages)
        first = sum(len(group) for group in groups[: self.stage])
        after = first + len(groups[self.stage])
        self.entering = self._shape(first) if self.stage else ()
        self.leaving = self._shape(after) if self.stage < self.last else ()
        model = build_model(self.spec, weights, range(first, after)).to(self.device, self.dtype)
        self.prepared(model)
        names = tied_weights(self.spec, stages) if self.stage in (0, self.last) else []
        self.tied = {name: model.get_parameter(torch_name(name)) for name in names}
        return model

    def _shape(self, unit: int) -> tuple[int, ...]:
        samples = self.spec.global_batch // self.parts
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
        return f"{kind}.{lower}.{part}", lower

    def _hop(self, kind: str, part: int, tensor: torch.Tensor, sending: bool = False) -> int:
        """Issues a broadcast from the stage a forward comes from, or a backward."""
        name, lower = self._name(kind, part, sending)
        root = lower if kind == "forward" else lower + 1
        return int(hvd.broadcast_async_(tensor, root, name, self.neighbours[lower]))

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
                gradient, op=hvd.Sum, name=f"tied.{name}", process_set=self.ends
            )
            self.wait(handle)
            if self.probe:
                self.probe.add("all_reduce", gradient, start, self.probe.mark(), f"tied.{name}")

    def loss(self, handle: torch.Tensor) -> float:
        return float(hvd.broadcast(handle, self.last, name="loss"))

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        merged = merge_stages(self.gather(super().full(tensors)))
        return {name: merged[name] for name in self.names if name in merged}
