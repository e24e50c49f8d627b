"""Data parallel: ``DistributedDataParallel``, contiguous shards of the global batch."""

# No postponed annotations here: DDP compares the hook's annotations with the classes themselves.
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.session import DataParallelSession
from suite.spec.workloads import Weights


class DataSession(DataParallelSession):
    """Gradients are averaged over ranks."""

    def build(self, weights: Weights) -> DistributedDataParallel:
        self.inner = super().build(weights)
        return self._wrap()

    def _wrap(self) -> DistributedDataParallel:
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Buffers are constants: broadcasting them every step would train nothing.
        return DistributedDataParallel(
            self.inner, device_ids=ids, gradient_as_bucket_view=True, broadcast_buffers=False
        )

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        wrapper = cast(DistributedDataParallel, self.model)
        return wrapper.no_sync() if here else nullcontext()

    def named_parameters(self) -> dict[str, torch.Tensor]:
        wrapped, self.model = self.model, self.inner
        try:
            return super().named_parameters()
        finally:
            self.model = wrapped

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A hook can be registered once and never removed, so probes get a wrapper of their own."""
        clean, self.model = self.model, self._probed()
        try:
            yield
        finally:
            self.model = clean

    def _probed(self) -> DistributedDataParallel:
        if not hasattr(self, "probed"):
            self.probed = self._wrap()
            self.probed.register_comm_hook(self, _stamped_all_reduce)
            # The first iteration lays the buckets out anew; it is no sample.
            clean, self.model = self.model, self.probed
            self.forward_backward(0)
            self.optimizer.zero_grad()
            self.model = clean
        return self.probed

    def silenced(self) -> AbstractContextManager[None]:
        return cast(DistributedDataParallel, self.model).no_sync()


def _stamped_all_reduce(
    session: DataSession, bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    buffer, probe = bucket.buffer(), session.probe
    start = probe.mark() if probe else None
    work = dist.all_reduce(buffer.div_(session.rank.processes), async_op=True)

    def finish(future: torch.futures.Future[Any]) -> torch.Tensor:
        if probe:
            probe.add("all_reduce", buffer, start, probe.mark(), f"bucket{bucket.index()}")
        return future.value()[0]

    return work.get_future().then(finish)
