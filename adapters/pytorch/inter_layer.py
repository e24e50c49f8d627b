"""Inter-layer: ``torch.distributed.pipelining`` with GPipe, 1F1B, or one micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, schedules
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.models.probe import Probe
from adapters.pytorch.session import GroupSession
from suite.spec.strategies import micro_batches, stage_units, tied_weights
from suite.spec.workloads import Weights

Hops = Callable[..., list[Any]]
Hop = Callable[[Any], None]


class InterLayerSession(GroupSession):
    """One contiguous group of layers a rank; the last rank has the loss."""

    def build(self, weights: Weights) -> nn.Module:
        self.stages, self.index = self.case.axes.size("inter_layer"), self.position("inter_layer")
        self.last = self.index == self.stages - 1
        self.leaves = not self.last
        groups = stage_units(self.spec, self.stages, self.case.device_speeds)
        first = sum(len(group) for group in groups[: self.index])
        self.units = range(first, first + len(groups[self.index]))
        module = super().build(weights)
        self.stage = _Stage(
            module, self.index, self.stages, self.device, group=self.group("inter_layer")
        )
        kind = Schedule1F1B if self.case.variant == "1f1b" else ScheduleGPipe
        parts = micro_batches(self.case.variant, self.stages)
        self.schedule = kind(self.stage, parts, loss_fn=self.loss_function)
        self._join_ends()
        return module

    def _join_ends(self) -> None:
        """The group of the two stages that hold a tied parameter; every rank must make them all."""
        if not tied_weights(self.spec, self.stages):
            return
        for group in self.case.axes.groups("inter_layer"):
            made = dist.new_group([group[0], group[-1]])
            if self.rank.index in group:
                self.ends = made

    @cached_property
    def tied(self) -> dict[str, torch.Tensor]:
        """What this stage, at one end, holds a copy of."""
        names = tied_weights(self.spec, self.stages) if self.index in (0, self.stages - 1) else []
        held = self.named_parameters()
        return {name: held[name] for name in names}

    def forward_backward(self, index: int) -> torch.Tensor:
        features, targets = self.batches[index % len(self.batches)]
        losses: list[torch.Tensor] = []
        arguments = (features,) if self.index == 0 else ()
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
                key = self.key("inter_layer", f"tied.{name}")
                self.probe.add("all_reduce", gradient, start, self.probe.mark(), key)

    def loss(self, handle: torch.Tensor) -> float:
        shared = torch.tensor(super().loss(handle), dtype=torch.float64, device=self.device)
        dist.broadcast(shared, group=self.group("inter_layer"), group_src=self.stages - 1)
        return float(shared)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        parts: list[Weights | None] = [None] * self.stages
        dist.all_gather_object(parts, super().full(tensors), group=self.group("inter_layer"))
        # From the last stage to the first, whose copy of a tied parameter is the one reported.
        held = (part for part in reversed(parts) if part)
        merged = {name: array for part in held for name, array in part.items()}
        return {name: merged[name] for name in self.names if name in merged}

    @contextmanager
    def watched(self) -> Iterator[None]:
        with super().watched(), _replaced_hops(self._stamped_hops(schedules._batch_p2p)):
            yield

    @contextmanager
    def using(self, model: nn.Module) -> Iterator[None]:
        """Where this stage computes with ``model``, a wrapper of the same parameters."""
        clean, self.stage.submod = self.stage.submod, model
        try:
            with super().using(model):
                yield
        finally:
            self.stage.submod = clean

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Stages compute on what the last real step left in their receive buffers."""
        with super().silenced(), _replaced_hops(lambda operations, desc=None: []):
            yield

    def _stamped_hops(self, original: Hops) -> Hops:
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
            return lambda end: probe.add("send_recv", operation.tensor, start, end, key, "send")
        key = probe.number(f"{peer}>{mine}")
        return lambda end: probe.add("send_recv", operation.tensor, start, end, key, "recv")


class _Stage(PipelineStage):
    """Finds shapes on the bare model: DDP would take that pass for one that it has to reduce."""

    def _compute_outputs(self, *args: torch.Tensor, module: nn.Module, **named: Any) -> Any:
        bare = module.module if isinstance(module, DistributedDataParallel) else module
        return super()._compute_outputs(*args, module=bare, **named)


class _StampedWork:
    """A work handle that marks the end of its wait."""

    def __init__(self, work: Any, hops: list[Hop], probe: Probe) -> None:
        self.work, self.hops, self.probe = work, hops, probe

    def wait(self) -> Any:
        result = self.work.wait()
        end = self.probe.mark()
        for hop in self.hops:
            hop(end)
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
