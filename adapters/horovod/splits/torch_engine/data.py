"""Data parallel: ``hvd.DistributedOptimizer``, contiguous shards of the global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import horovod.torch as hvd
import torch
from horovod.torch import optimizer as hvd_optimizer
from torch import nn

from adapters.horovod.splits.torch_engine.group import HorovodSession, Watch
from adapters.horovod.training.timeline import fused_operations, join_again, recorded
from adapters.pytorch.models.images import laid_out
from adapters.pytorch.training.balanced import BalancedShares
from suite.contract.adapter import StepTrace
from suite.contract.workloads import Weights


class DataSession(BalancedShares, HorovodSession):
    """Gradients are averaged over ranks; equal shards make that the global-batch mean.

    Shards by the devices' speeds, or balanced ones, come with a weighted loss instead.
    """

    _has_timeline = False

    @property
    def replica(self) -> int:
        """Which replica this rank belongs to."""
        return self.position("data")

    def send_busy(self, seconds: float) -> Callable[[], list[float]]:
        """Begins to gather every rank's busy seconds; returns what waits for all of them."""
        mine = torch.tensor([seconds], dtype=torch.float64)
        handle = hvd.allgather_async(mine, name="busy", process_set=self.process_set("data"))
        return lambda: hvd.synchronize(handle).tolist()

    def build(self, weights: Weights) -> nn.Module:
        """Builds what this rank holds of the model."""
        # Horovod refuses tensors whose channels come last in memory.
        return laid_out(super().build(weights), torch.contiguous_format)

    def make_optimizer(self) -> Any:
        """The optimiser of the parameters that this rank holds."""
        replicas = self.process_set("data")
        first = self.case.axes.group("data", self.rank.index)[0]
        # What hvd.broadcast_parameters does, which knows no process sets.
        for name, tensor in sorted(self.model.state_dict().items()):
            hvd.broadcast_(tensor, first, name, replicas)
        return hvd.DistributedOptimizer(
            super().make_optimizer(), named_parameters=self.model.named_parameters(),
            backward_passes_per_step=self.passes, process_set=replicas,
            compression=hvd.Compression.fp16 if self.case.compression else hvd.Compression.none,
        )

    @cached_property
    def staged(self) -> bool:
        """Whether a replica is a pipeline."""
        return "inter_layer" in self.case.axes.names

    @property
    def passes(self) -> int:
        """Backward passes a step, of which the last one's gradients are reduced."""
        return self.case.micro_batches if self.staged else self.case.accumulate

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """A step under the framework's profiler."""
        if len(self.case.axes.axes) > 1:  # rank 0 alone would tell, of its own group's operations
            return super().traced_step(index, timeline)
        if not self._has_timeline:
            self._join_again(timeline=True)
            self.step(index)  # a new group has to negotiate every tensor once
        path = self.rank.folder / "horovod-timeline.json"
        with recorded(hvd, path):
            trace = super().traced_step(index, timeline)
        # Rank 0's timeline tells of all ranks; what kernels tell besides are the same operations.
        if self.rank.index:
            return replace(trace, events=())
        return replace(trace, events=fused_operations(path.read_text(encoding="utf-8")))

    def silent_step(self, index: int) -> None:
        """A step with communication switched off."""
        if self._has_timeline:
            self._join_again(timeline=False)
        super().silent_step(index)

    def _join_again(self, timeline: bool) -> None:
        join_again(hvd, timeline)
        self._has_timeline = timeline

    def reduce_gradients(self) -> None:
        """Averages the gradients over the replicas."""
        self.optimizer.synchronize()

    def step(self, index: int) -> torch.Tensor:
        """One training step on global batch ``index``."""
        if not self.staged:
            return super().step(index)
        # The pipeline has synchronised, before its ends added up what they tie.
        with self.optimizer.skip_synchronize():
            return super().step(index)

    def loss(self, handle: torch.Tensor) -> float:
        """Mean loss of the global batch, the same value on every rank."""
        return float(hvd.allreduce(handle, name="loss", process_set=self.process_set("data")))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Attaches the probes that see every communication of a step, and detaches them again."""
        original, watch = hvd_optimizer.allreduce_async_, Watch(self)

        def issue(tensor: torch.Tensor, *arguments: Any, **named: Any) -> int:
            handle = int(original(tensor, *arguments, **named))
            watch.add(handle, tensor, self.key("data", str(named["name"])))
            return handle

        replaced = _replaced(allreduce_async_=issue, synchronize=self.wait)
        with super().watched(), replaced, watch:
            yield

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Switches every communication of a step off, and on again."""
        local: list[torch.Tensor] = []

        def issue(tensor: torch.Tensor, *arguments: Any, **named: Any) -> int:
            local.append(tensor)
            return len(local) - 1

        replaced = _replaced(allreduce_async_=issue, synchronize=local.__getitem__)
        with super().silenced(), replaced:
            yield


@contextmanager
def _replaced(**functions: Any) -> Iterator[None]:
    """The optimiser's hooks and its ``synchronize`` call these functions of its module."""
    originals = {name: getattr(hvd_optimizer, name) for name in functions}
    for name, function in functions.items():
        setattr(hvd_optimizer, name, function)
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(hvd_optimizer, name, function)
