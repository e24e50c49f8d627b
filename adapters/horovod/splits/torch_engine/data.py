"""Data parallel: ``hvd.DistributedOptimizer``, and a contiguous shard of each global batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import horovod.torch as hvd
import torch
from horovod.torch import optimizer as hvd_optimizer
from torch import nn

from adapters.horovod.splits.torch_engine.group import HorovodSession, Watch, gather_figures
from adapters.pytorch.models.images import laid_out
from adapters.pytorch.training.balanced import BalancedShares, Gathered
from suite.contract.workloads import Weights


class DataSession(BalancedShares, HorovodSession):
    """Averages gradients over the ranks, which gives the mean of the global batch if shards are
    equal.

    If the shards follow the devices' speeds or busy times, the loss is weighted to give the same
    mean.
    """

    @property
    def replica(self) -> int:
        """The number of the replica that this rank belongs to."""
        return self.position("data")

    def gather_busy(self, seconds: list[float]) -> Gathered:
        """Begins to gather every rank's busy seconds of some steps.

        Args:
            seconds: Of this rank in each of the steps, oldest first.

        Returns:
            A function that waits for the same of all ranks and returns it by rank.
        """
        return gather_figures(seconds, self.process_set("data"))

    def build(self, weights: Weights) -> nn.Module:
        """Builds the model with contiguous parameters."""
        # Horovod refuses tensors in the memory format channels_last.
        return laid_out(super().build(weights), torch.contiguous_format)

    def make_optimizer(self) -> Any:
        """Returns the distributed optimiser; gives every replica the parameters of the first."""
        replicas = self.process_set("data")
        first = self.case.axes.group("data", self.rank.index)[0]
        # This is what hvd.broadcast_parameters does, but that cannot use a process set.
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
        """How many backward passes a step has; gradients are reduced in the last of them."""
        return self.case.micro_batches if self.staged else self.case.accumulate

    def reduce_gradients(self) -> None:
        """Waits until the gradients are averaged over the replicas."""
        self.optimizer.synchronize()

    def step(self, index: int) -> torch.Tensor:
        """Runs one training step on global batch ``index``; returns its loss."""
        if not self.staged:
            return super().step(index)
        # The pipeline has synchronised already, before its ends summed their tied gradients.
        with self.optimizer.skip_synchronize():
            return super().step(index)

    def loss(self, handle: torch.Tensor) -> float:
        """Returns the mean loss of the global batch, which is the same on every rank."""
        return float(hvd.allreduce(handle, name="loss", process_set=self.process_set("data")))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Attaches probes to every communication of the steps in the block."""
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
        """Switches every communication of the steps in the block off."""
        local: list[torch.Tensor] = []

        def issue(tensor: torch.Tensor, *arguments: Any, **named: Any) -> int:
            local.append(tensor)
            return len(local) - 1

        replaced = _replaced(allreduce_async_=issue, synchronize=local.__getitem__)
        with super().silenced(), replaced:
            yield


@contextmanager
def _replaced(**functions: Any) -> Iterator[None]:
    """Replaces functions of Horovod's optimiser module, which the optimiser's hooks call."""
    originals = {name: getattr(hvd_optimizer, name) for name in functions}
    for name, function in functions.items():
        setattr(hvd_optimizer, name, function)
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(hvd_optimizer, name, function)
