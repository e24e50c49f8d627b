"""Data parallel: ``hvd.DistributedOptimizer``, contiguous shards of the global batch."""

from __future__ import annotations

from typing import Any

import horovod.torch as hvd
import torch
from horovod.torch import optimizer as hvd_optimizer

from adapters.horovod.torch_engine.session import HorovodSession, Watch
from suite.spec.adapter import StepTrace
from suite.spec.strategies import batch_slice
from suite.spec.workloads import Weights


class DataSession(HorovodSession):
    """Gradients are averaged over ranks; equal shards make that the global-batch mean."""

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        share = batch_slice(len(features), self.case.devices, self.rank.index)
        return features[share], targets[share]

    def make_optimizer(self) -> Any:
        hvd.broadcast_parameters(self.model.state_dict(), root_rank=0)
        named = self.model.named_parameters()
        return hvd.DistributedOptimizer(super().make_optimizer(), named_parameters=named)

    def gradients(self, index: int) -> Weights:
        self.optimizer.zero_grad()
        self.forward_backward(index)
        self.optimizer.synchronize()
        named = self.named_parameters()
        found = self.full({name: p.grad for name, p in named.items() if p.grad is not None})
        # Resets the optimiser's handles; a step would have done it.
        with self.optimizer.skip_synchronize():
            self.optimizer.zero_grad()
        return found

    def loss(self, handle: torch.Tensor) -> float:
        return float(hvd.allreduce(handle, name="loss"))

    def timed_step(self, index: int) -> StepTrace:
        watch = Watch()
        original = hvd_optimizer.allreduce_async_

        def watched(tensor: torch.Tensor, *arguments: Any, **named: Any) -> int:
            handle = original(tensor, *arguments, **named)
            watch.add(handle, tensor)
            return int(handle)

        hvd_optimizer.allreduce_async_ = watched
        watch.start()
        try:
            trace = super().timed_step(index)
        finally:
            hvd_optimizer.allreduce_async_ = original
            events = watch.stop()
        return StepTrace(events, trace.compute_s)
