"""Data parallel: ``DistributedDataParallel``, contiguous shards of the global batch."""

# No postponed annotations here: DDP compares the hook's annotations with the classes themselves.
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
            self.inner, device_ids=ids, process_group=self.group("data"),
            gradient_as_bucket_view=True, broadcast_buffers=False,
        )

    def named_parameters(self) -> dict[str, torch.Tensor]:
        wrapped, self.model = self.model, self.inner
        try:
            return super().named_parameters()
        finally:
            self.model = wrapped

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A hook can be registered once and never removed, so probes get a wrapper of their own."""
        probed = self._probed()
        with super().watched(), self.using(probed):
            yield

    def _probed(self) -> DistributedDataParallel:
        if not hasattr(self, "probed"):
            self.probed = self._wrap()
            self.probed.register_comm_hook(self, _stamped_all_reduce)
            # The first iteration lays the buckets out anew; it is no sample.
            with self.using(self.probed):
                self.forward_backward(0)
            self.optimizer.zero_grad()
        return self.probed

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Without the wrapper in a pipeline: its stages ask DDP to reduce whatever it was told."""
        staged = "inter_layer" in self.case.axes.names
        unsynchronized: AbstractContextManager[Any] = (
            self.using(self.inner) if staged
            else cast(DistributedDataParallel, self.model).no_sync()
        )
        with super().silenced(), unsynchronized:
            yield


def _stamped_all_reduce(
    session: DataSession, bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    buffer, probe = bucket.buffer(), session.probe
    start = probe.mark() if probe else None
    group = session.group("data")
    work = dist.all_reduce(buffer.div_(group.size()), group=group, async_op=True)
    key = session.key("data", f"bucket{bucket.index()}")

    def finish(future: torch.futures.Future[Any]) -> torch.Tensor:
        if probe:
            probe.add("all_reduce", buffer, start, probe.mark(), key)
        return future.value()[0]

    return work.get_future().then(finish)
