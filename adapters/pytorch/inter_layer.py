"""Inter-layer: ``torch.distributed.pipelining`` with GPipe, 1F1B, or one micro-batch."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, schedules

from adapters.pytorch.models import build_model
from adapters.pytorch.session import GroupSession
from suite.spec.adapter import CommEvent, StepTrace
from suite.spec.strategies import micro_batches, stage_units
from suite.spec.workloads import Weights


class InterLayerSession(GroupSession):
    """One contiguous group of layers a rank; the last rank has the loss."""

    def build(self, weights: Weights) -> nn.Module:
        groups = stage_units(self.spec, self.case.devices)
        first = sum(len(group) for group in groups[: self.rank.index])
        units = range(first, first + len(groups[self.rank.index]))
        self.last = self.rank.index == self.case.devices - 1
        module = build_model(self.spec, weights, units).to(self.device)
        stage = PipelineStage(module, self.rank.index, self.case.devices, self.device)
        kind = Schedule1F1B if self.case.variant == "1f1b" else ScheduleGPipe
        parts = micro_batches(self.case.variant, self.case.devices)
        self.schedule = kind(stage, parts, loss_fn=self.loss_function)
        return module

    def forward_backward(self, index: int) -> torch.Tensor:
        features, targets = self.batches[index % len(self.batches)]
        losses: list[torch.Tensor] = []
        arguments = (features,) if self.rank.index == 0 else ()
        named: dict[str, Any] = {"target": targets, "losses": losses} if self.last else {}
        self.schedule.step(*arguments, **named, return_outputs=False)
        if not self.last:
            return torch.zeros((), device=self.device)
        return torch.stack([loss.detach() for loss in losses]).mean()

    def loss(self, handle: torch.Tensor) -> float:
        shared = handle.clone()
        dist.broadcast(shared, self.case.devices - 1)
        return float(shared)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        parts: list[Weights | None] = [None] * self.case.devices
        dist.all_gather_object(parts, super().full(tensors))
        merged = {name: array for part in parts if part for name, array in part.items()}
        return {name: merged[name] for name in self.names if name in merged}

    def timed_step(self, index: int) -> StepTrace:
        # The schedules issue every hop through this one function; no public hook exists.
        original = schedules._batch_p2p
        schedules._batch_p2p = self._stamped(original)
        try:
            return super().timed_step(index)
        finally:
            schedules._batch_p2p = original

    def _stamped(self, original: Any) -> Any:
        def batch(operations: list[dist.P2POp], desc: str | None = None) -> list[Any]:
            began = time.perf_counter()
            works = original(operations, desc)
            if not operations:
                return works
            received = [op for op in operations if op.op is not dist.isend]
            size = sum(op.tensor.numel() * op.tensor.element_size() for op in received)
            return [_StampedWork(work, size if i == 0 else 0, began, self.events)
                    for i, work in enumerate(works)]

        return batch


class _StampedWork:
    """A work handle that records the interval from issue to the end of its wait.

    Bytes are counted where they are received, so that a hop counts once in the group.
    """

    def __init__(self, work: Any, size: int, began: float, events: list[CommEvent]) -> None:
        self.work, self.size, self.began, self.events = work, size, began, events

    def wait(self) -> Any:
        result = self.work.wait()
        if self.size:
            event = CommEvent("send_recv", self.size, self.began, time.perf_counter())
            self.events.append(event)
        return result
