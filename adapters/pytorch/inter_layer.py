"""Inter-layer: ``torch.distributed.pipelining``: GPipe, (interleaved) 1F1B, or one micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    schedules,
)

from adapters.pytorch.models import build_model, torch_name
from adapters.pytorch.models.probe import Probe
from adapters.pytorch.session import GroupSession
from suite.spec.strategies import stage_count, stages_of, tied_weights, unit_ranges
from suite.spec.workloads import Weights

Hops = Callable[..., list[Any]]
Hop = Callable[[Any, Any], None]


class InterLayerSession(GroupSession):
    """A contiguous group of layers a rank, or several; the last rank has the loss."""

    def build(self, weights: Weights) -> nn.Module:
        variant, devices = self.case.variant, self.case.devices
        count, mine = stage_count(variant, devices), stages_of(variant, devices, self.rank.index)
        self.last = self.rank.index == devices - 1
        units = unit_ranges(self.spec, count)
        self.chunks = [
            build_model(self.spec, weights, units[index]).to(self.device, self.dtype)
            for index in mine
        ]
        self.schedule: Any = self._schedule([
            PipelineStage(chunk, index, count, self.device)
            for chunk, index in zip(self.chunks, mine, strict=True)
        ])
        self._join_ends(self.chunks[-1 if self.last else 0], count)
        return self.chunks[0] if len(self.chunks) == 1 else nn.ModuleList(self.chunks)

    def _schedule(self, stages: list[Any]) -> Any:
        parts = self.case.micro_batches
        if self.case.variant == "interleaved":
            return ScheduleInterleaved1F1B(stages, parts, loss_fn=self.loss_function)
        kind = Schedule1F1B if self.case.variant == "1f1b" else ScheduleGPipe
        return kind(stages[0], parts, loss_fn=self.loss_function)

    def modules(self) -> list[nn.Module]:
        return self.chunks

    def _join_ends(self, module: nn.Module, stages: int) -> None:
        """The group of the two stages that hold a tied parameter; every rank must make it."""
        names = tied_weights(self.spec, stages)
        ends = [0, self.case.devices - 1]
        self.ends = dist.new_group(ends) if names else None
        mine = names if self.rank.index in ends else []
        self.tied = {name: module.get_parameter(torch_name(name)) for name in mine}

    def forward_backward(self, index: int) -> torch.Tensor:
        features, targets = self.batches[index % len(self.batches)]
        losses: list[torch.Tensor] = []
        arguments = (features,) if self.rank.index == 0 else ()
        named: dict[str, Any] = {"target": targets, "losses": losses} if self.last else {}
        if self.spec.side_input:
            named["features"] = features
        self.schedule.step(*arguments, **named, return_outputs=False)
        self.sum_tied_gradients()
        if not self.last:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.stack([loss.detach() for loss in losses]).mean()

    def sum_tied_gradients(self) -> None:
        """Each end adds what the other found: once a step, before the update."""
        for name, parameter in self.tied.items():
            gradient = parameter.grad
            assert gradient is not None
            if self.silent:
                continue
            start = self.probe.mark() if self.probe else None
            dist.all_reduce(gradient, group=self.ends)
            if self.probe:
                self.probe.add("all_reduce", gradient, start, self.probe.mark(), f"tied.{name}")

    def loss(self, handle: torch.Tensor) -> float:
        shared = handle.clone()
        dist.broadcast(shared, self.case.devices - 1)
        return float(shared)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        parts: list[Weights | None] = [None] * self.case.devices
        dist.all_gather_object(parts, super().full(tensors))
        # From the last stage to the first, whose copy of a tied parameter is the one reported.
        held = (part for part in reversed(parts) if part)
        merged = {name: array for part in held for name, array in part.items()}
        return {name: merged[name] for name in self.names if name in merged}

    def watched(self) -> AbstractContextManager[None]:
        return _replaced_hops(self._stamped(schedules._batch_p2p))

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Stages compute on what the last real step left in their receive buffers."""
        with super().silenced(), _replaced_hops(lambda operations, desc=None: []):
            yield

    def _stamped(self, original: Hops) -> Hops:
        def batch(operations: list[dist.P2POp], desc: str | None = None) -> list[Any]:
            probe = self.probe
            if probe is None or not operations:
                return original(operations, desc)
            start = probe.mark()
            works = original(operations, desc)
            hops = [self._hop(probe, operation, start) for operation in operations]
            if len(works) != len(hops):  # coalesced: one handle for all
                return [_StampedWork(work, hops, probe) for work in works]
            return [_StampedWork(w, [hop], probe) for w, hop in zip(works, hops, strict=True)]

        return batch

    def _hop(self, probe: Probe, operation: dist.P2POp, start: Any) -> Hop:
        """Messages between two ranks arrive in the order they are sent: numbers name them."""
        mine, peer = self.rank.index, operation.peer
        if operation.op is dist.isend:
            key = probe.number(f"{mine}>{peer}")
            return lambda _, end: probe.add("send_recv", operation.tensor, start, end, key, "send")
        key = probe.number(f"{peer}>{mine}")
        # Ready once it waits: an interleaved schedule posts a receive before its work is done.
        return lambda idle, end: probe.add("send_recv", operation.tensor, idle, end, key, "recv")


class _StampedWork:
    """A work handle that marks both ends of its wait."""

    def __init__(self, work: Any, hops: list[Hop], probe: Probe) -> None:
        self.work, self.hops, self.probe = work, hops, probe

    def wait(self) -> Any:
        idle = self.probe.mark()
        result = self.work.wait()
        end = self.probe.mark()
        for hop in self.hops:
            hop(idle, end)
        return result


@contextmanager
def _replaced_hops(replacement: Hops) -> Iterator[None]:
    """The schedules issue every hop through this one function; no public hook exists."""
    original = schedules._batch_p2p
    schedules._batch_p2p = replacement
    try:
        yield
    finally:
        schedules._batch_p2p = original
