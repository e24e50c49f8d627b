"""Data parallel: ``DistributedDataParallel``, contiguous shards of the global batch."""

# No postponed annotations here: DDP compares the hook's annotations with the classes themselves.
import time
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.session import GroupSession
from suite.spec.adapter import CommEvent, StepTrace
from suite.spec.strategies import batch_slice
from suite.spec.workloads import Weights


class DataSession(GroupSession):
    """Gradients are averaged over ranks; equal shards make that the global-batch mean."""

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        share = batch_slice(len(features), self.case.devices, self.rank.index)
        return features[share], targets[share]

    def build(self, weights: Weights) -> nn.Module:
        self.inner = super().build(weights)
        return self._wrap()

    def _wrap(self) -> DistributedDataParallel:
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.inner, device_ids=ids, gradient_as_bucket_view=True)

    def named_parameters(self) -> dict[str, torch.Tensor]:
        wrapped, self.model = self.model, self.inner
        try:
            return super().named_parameters()
        finally:
            self.model = wrapped

    def loss(self, handle: torch.Tensor) -> float:
        total = handle.clone()
        dist.all_reduce(total)
        return float(total) / self.rank.processes

    def timed_step(self, index: int) -> StepTrace:
        """A hook can be registered once and never removed, so probes get a wrapper of their own."""
        clean = self.model
        self.model = self._probed()
        try:
            trace = super().timed_step(index)
        finally:
            self.model = clean
        # Buckets may finish out of order, but every rank issues them in the same one.
        return replace(trace, events=sorted(trace.events, key=lambda event: event.start_s))

    def _probed(self) -> DistributedDataParallel:
        if not hasattr(self, "probed"):
            self.probed = self._wrap()
            self.probed.register_comm_hook(self, _stamped_all_reduce)
            # The first iteration lays the buckets out anew; it is no sample.
            super().forward_backward(0)
            probed_clean, self.model = self.model, self.probed
            self.optimizer.zero_grad()
            super().forward_backward(0)
            self.optimizer.zero_grad()
            self.model = probed_clean
            self.events = []
        return self.probed


def _stamped_all_reduce(
    session: DataSession, bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    buffer = bucket.buffer()
    size = buffer.numel() * buffer.element_size()
    began = time.perf_counter()
    work = dist.all_reduce(buffer.div_(session.rank.processes), async_op=True)

    def finish(future: torch.futures.Future[Any]) -> torch.Tensor:
        session.events.append(CommEvent("all_reduce", size, began, time.perf_counter()))
        return future.value()[0]

    return work.get_future().then(finish)
