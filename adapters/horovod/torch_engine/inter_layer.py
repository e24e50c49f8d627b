"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

import time

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.common import boundary_width
from adapters.horovod.torch_engine.session import HorovodSession
from adapters.pytorch.models import build_model
from suite.spec.adapter import CommEvent, StepTrace
from suite.spec.strategies import micro_batches, pipeline_order, stage_units
from suite.spec.workloads import GptSpec, Weights


class InterLayerSession(HorovodSession):
    """Receives are posted at the start of a step, so that a hop needs no waiting sender."""

    probing = False

    def build(self, weights: Weights) -> nn.Module:
        stages, self.stage = self.case.devices, self.rank.index
        self.last = stages - 1
        self.parts = micro_batches(self.case.variant, stages)
        self.order = pipeline_order(self.case.variant, self.stage, stages, self.parts)
        groups = stage_units(self.spec, stages)
        first = sum(len(group) for group in groups[: self.stage])
        after = first + len(groups[self.stage])
        self.entering = self._shape(first)
        self.leaving = self._shape(after) if self.stage < self.last else ()
        model = build_model(self.spec, weights, range(first, after))
        return model.to(self.device, self.dtype)

    def _shape(self, unit: int) -> tuple[int, ...]:
        samples = self.spec.global_batch // self.parts
        tokens = (self.spec.sequence,) if isinstance(self.spec, GptSpec) else ()
        return (samples, *tokens, boundary_width(self.spec, unit))

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
            hvd.synchronize(handle)
        if self.stage < self.last:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.stack(self.losses).sum()

    def _post_receives(self) -> dict[tuple[str, int], int]:
        found = {}
        for part in range(self.parts):
            if self.stage:
                found["forward", part] = self._hop("forward", part, self._blank(self.entering))
            if self.stage < self.last:
                found["backward", part] = self._hop("backward", part, self._blank(self.leaving))
        return found

    def _blank(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def _hop(self, kind: str, part: int, tensor: torch.Tensor, sending: bool = False) -> int:
        """Between this stage and the one a forward comes from or a backward goes to, or beyond."""
        lower = self.stage if sending == (kind == "forward") else self.stage - 1
        root = lower if kind == "forward" else lower + 1
        name = f"{kind}.{lower}.{part}"
        return int(hvd.broadcast_async_(tensor, root, name, self.neighbours[lower]))

    def _receive(self, kind: str, part: int) -> torch.Tensor:
        if not self.probing:
            return hvd.synchronize(self.arriving[kind, part])
        began = time.perf_counter()
        tensor = hvd.synchronize(self.arriving[kind, part])
        size = tensor.numel() * tensor.element_size()
        self.events.append(CommEvent("send_recv", size, began, time.perf_counter()))
        return tensor

    def _forward(self, part: int) -> None:
        x = self._receive("forward", part).requires_grad_() if self.stage else self.inputs[part]
        y = self.model(x)
        if self.stage == self.last:
            y = self.loss_function(y, self.targets[part]) / self.parts
            self.losses.append(y.detach())
        else:
            sending = y.detach().contiguous()
            self.sent.append(self._hop("forward", part, sending, sending=True))
        self.flying[part] = x, y

    def _backward(self, part: int) -> None:
        x, y = self.flying.pop(part)
        y.backward(None if self.stage == self.last else self._receive("backward", part))
        if self.stage and x.grad is not None:
            self.sent.append(self._hop("backward", part, x.grad.contiguous(), sending=True))

    def loss(self, handle: torch.Tensor) -> float:
        return float(hvd.broadcast(handle, self.last, name="loss"))

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        parts = hvd.allgather_object(super().full(tensors))
        merged = {name: array for part in parts for name, array in part.items()}
        return {name: merged[name] for name in self.names if name in merged}

    def timed_step(self, index: int) -> StepTrace:
        self.probing = True
        try:
            return super().timed_step(index)
        finally:
            self.probing = False
