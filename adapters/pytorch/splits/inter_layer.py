"""Inter-layer: GPipe, 1F1B, interleaved or naive schedules of ``torch.distributed.pipelining``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
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
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.splits.group import GroupSession, gather_figures
from adapters.pytorch.training.balanced import Gathered
from adapters.pytorch.training.moved import MovedLayers
from adapters.pytorch.training.probe import Probe
from adapters.pytorch.training.profile import RECEIVES, SENDS
from suite.contract.splits.stages import stages_of, tied_weights, unit_ranges
from suite.contract.threads import native_threads
from suite.contract.workloads import Weights

# Issues point-to-point operations and returns their work handles.
Hops = Callable[..., list[Any]]
# Records one transfer, given the marks of when the wait for it began and ended.
Hop = Callable[[Any, Any], None]


class InterLayerSession(MovedLayers, GroupSession):
    """Each rank has one contiguous group of layers, or several; the last rank has the loss."""

    ends: dist.ProcessGroup | None = None  # first and last stage, if they share a parameter
    told: dist.ProcessGroup | None = None  # all stages, to tell each other what they were busy for

    def build(self, weights: Weights) -> nn.Module:
        """Builds the stages of this rank and the pipeline's schedule."""
        case, group = self.case, self.group("inter_layer")
        self.places, self.index = case.axes.size("inter_layer"), self.position("inter_layer")
        self.last = self.index == self.places - 1
        units = unit_ranges(self.spec, case.stages, cut=self.cut)
        self.chunks: list[nn.Module] = []
        self.pipeline: list[Any] = []
        for number in stages_of(case.variant, self.places, self.index):
            self.units, self.leaves = units[number], number < case.stages - 1
            chunk = super().build(weights)
            self.chunks.append(chunk)
            self.pipeline.append(_Stage(chunk, number, case.stages, self.device, group=group))
        self.schedule: Any = self._schedule()
        self._join_groups()
        return self.chunks[0] if len(self.chunks) == 1 else nn.ModuleList(self.chunks)

    def _schedule(self) -> Any:
        parts = self.case.micro_batches
        if self.case.variant == "interleaved":
            return ScheduleInterleaved1F1B(self.pipeline, parts, loss_fn=self.loss_function)
        kind = Schedule1F1B if self.case.variant == "1f1b" else ScheduleGPipe
        return kind(self.pipeline[0], parts, loss_fn=self.loss_function)

    def modules(self) -> Sequence[nn.Module]:
        """Returns the modules whose parameters this rank trains."""
        return self.chunks if len(self.chunks) > 1 else super().modules()

    def _join_groups(self) -> None:
        """Joins the groups of ends that share a parameter, and of stages that tell busy seconds.

        Of two stages all are ends, and on GPUs a group more would only take memory. On CPUs such a
        group has threads of its own: no stage computes while gradients of tied parameters are added
        up, and figures may arrive late, so their event loops are scheduled unlike that of the hops.
        """
        if self.told is not None:
            return
        before, on_cpu = native_threads(), self.device.type == "cpu"
        whole = self.group("inter_layer")
        if tied_weights(self.spec, self.case.stages):
            self.ends = whole if self.places == 2 and not on_cpu else self._new_group((0, -1))
        self.told = whole
        if self.case.balances and on_cpu:
            self.told = self._new_group(range(self.places))
        self.awaited = native_threads() - before

    def _new_group(self, places: Sequence[int]) -> dist.ProcessGroup | None:
        """Makes a group of these stages; every rank takes part in making those of all replicas."""
        mine = None
        for group in self.case.axes.groups("inter_layer"):
            made = dist.new_group([group[place] for place in places])
            if self.rank.index in group:
                mine = made
        return mine

    @cached_property
    def tied(self) -> dict[str, torch.Tensor]:
        """The tied parameters of which this rank, at one end of the pipeline, holds a copy."""
        at_end = self.index in (0, self.places - 1)
        names = tied_weights(self.spec, self.case.stages) if at_end else []
        held = self.named_parameters()
        return {name: held[name] for name in names}

    @property
    def stage(self) -> int:
        """The number of this rank's stage, where it has one alone."""
        return self.index

    def gather_busy(self, seconds: list[float]) -> Gathered:
        """Begins to gather the busy seconds of every stage in some steps.

        Args:
            seconds: Of this rank in each of the steps, oldest first.

        Returns:
            A function that waits for the same of all stages and returns it by stage.
        """
        assert self.told is not None
        return gather_figures(seconds, self.told)

    def give(self, name: str, tensor: torch.Tensor, giver: int, taker: int) -> None:
        """Sends a tensor from one stage to another.

        Args:
            name: Canonical name of the parameter that moves.
            tensor: What the giver has; on the taker it is overwritten.
            giver: Number of the stage that has it.
            taker: Number of the stage that gets it.
        """
        group = self.group("inter_layer")
        if self.stage == giver:
            dist.send(tensor, group=group, group_dst=taker)
        elif self.stage == taker:
            dist.recv(tensor, group=group, group_src=giver)

    def take_cut(self, cut: Sequence[int]) -> None:
        """Moves layers, and trains on another cut from the next step on.

        Args:
            cut: Number of units of each stage.
        """
        self.__dict__.pop("tied", None)  # its parameters are found anew
        super().take_cut(cut)

    def forward_backward(self, index: int) -> torch.Tensor:
        """Leaves the gradients of a batch in ``.grad``.

        Args:
            index: Number of the global batch.

        Returns:
            The loss, detached; zero on ranks without the last stage.
        """
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
        """Adds up the gradients of tied parameters from both ends, before the update."""
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
        """Returns the mean loss of the global batch, the same value on every rank."""
        shared = torch.tensor(super().loss(handle), dtype=torch.float64, device=self.device)
        dist.broadcast(shared, group=self.group("inter_layer"), group_src=self.places - 1)
        return float(shared)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Returns whole arrays in canonical layout, on every rank.

        Args:
            tensors: Name to tensor of the parameters that this rank holds.
        """
        parts: list[Weights | None] = [None] * self.places
        dist.all_gather_object(parts, super().full(tensors), group=self.group("inter_layer"))
        # The first stage comes last, because its copy of a tied parameter is the one reported.
        held = (part for part in reversed(parts) if part)
        merged = {name: array for part in held for name, array in part.items()}
        return {name: merged[name] for name in self.names if name in merged}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Attaches the probes that see every communication of a step, and detaches them again."""
        with super().watched(), _replaced_hops(self._stamped_hops(schedules._batch_p2p)):
            yield

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Names every batch of hops for the profiler."""
        with super().traced(), _replaced_hops(named_hops(schedules._batch_p2p)):
            yield

    @contextmanager
    def using(self, model: nn.Module) -> Iterator[None]:
        """Computes this stage with ``model``, a wrapper of the same parameters."""
        stage, = self.pipeline  # a rank with several stages has no wrappers
        clean, stage.submod = stage.submod, model
        try:
            with super().using(model):
                yield
        finally:
            stage.submod = clean

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
        """Names a transfer and returns the function that records it.

        Messages between two ranks arrive in the order they are sent, so their numbers name them.
        """
        mine, peer = self.rank.index, operation.peer
        if operation.op is dist.isend:
            key = probe.number(f"{mine}>{peer}")
            return lambda _, end: probe.add("send_recv", operation.tensor, start, end, key, "send")
        key = probe.number(f"{peer}>{mine}")
        # The receiver is ready once it waits: an interleaved schedule posts a receive before its
        # other work is done.
        return lambda idle, end: probe.add("send_recv", operation.tensor, idle, end, key, "recv")


def named_hops(original: Hops) -> Hops:
    """Issues hops inside an annotation that says whether anything is received.

    NCCL's kernel has one name for both, and PyTorch names single calls only, not what a schedule
    issues together. A batch that receives anything is done when that has come.
    """
    def batch(operations: list[dist.P2POp], desc: str | None = None) -> list[Any]:
        sends = bool(operations) and all(one.op is dist.isend for one in operations)
        with torch.profiler.record_function(SENDS if sends else RECEIVES):
            return original(operations, desc)

    return batch


class _Stage(PipelineStage):
    """Finds shapes with the bare model, since DDP would try to reduce after such a pass."""

    def _compute_outputs(self, *args: torch.Tensor, module: nn.Module, **named: Any) -> Any:
        bare = module.module if isinstance(module, DistributedDataParallel) else module
        return super()._compute_outputs(*args, module=bare, **named)


class _StampedWork:
    """A work handle that marks both ends of its wait."""

    def __init__(self, work: Any, hops: list[Hop], probe: Probe) -> None:
        self.work, self.hops, self.probe = work, hops, probe

    def wait(self) -> Any:
        """Waits for the operation and records its transfers."""
        idle = self.probe.mark()
        result = self.work.wait()
        end = self.probe.mark()
        for hop in self.hops:
            hop(idle, end)
        return result


@contextmanager
def _replaced_hops(replacement: Hops) -> Iterator[None]:
    """Replaces the one function through which schedules issue every transfer.

    PyTorch has no public hook for this.
    """
    original = schedules._batch_p2p
    schedules._batch_p2p = replacement
    try:
        yield
    finally:
        schedules._batch_p2p = original
