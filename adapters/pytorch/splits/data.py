"""Data parallel: ``DistributedDataParallel``, contiguous shards of the global batch."""

# No postponed annotations here: DDP compares the hook's annotations with the classes themselves.
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.splits.group import DataParallelSession
from suite.contract.workloads import Weights

FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def _bf16_compress(
    group: dist.ProcessGroup, bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """PyTorch's own hook, which DDP refuses by its name off CUDA; gloo sums bfloat16 too."""
    return default_hooks.bf16_compress_hook(group, bucket)


HOOKS = {"fp16": default_hooks.fp16_compress_hook, "bf16": _bf16_compress}


class DataSession(DataParallelSession):
    """Gradients are averaged over ranks."""

    def build(self, weights: Weights) -> DistributedDataParallel:
        """Builds what this rank holds of the model."""
        self.inner = super().build(weights)
        return self._wrap()

    def _wrap(self, probed: bool = False) -> DistributedDataParallel:
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Buffers are constants: broadcasting them every step would train nothing.
        wrapper = DistributedDataParallel(
            self.inner, device_ids=ids, process_group=self.group("data"),
            gradient_as_bucket_view=True, broadcast_buffers=False,
        )
        if probed:
            wrapper.register_comm_hook(self, _stamped_all_reduce)
        elif self.case.compression:
            hook = HOOKS[self.case.compression]
            wrapper.register_comm_hook(self.group("data"), hook)
        return wrapper

    def describe(self) -> dict[str, str]:
        """The ledger of the session, with what this strategy adds to it."""
        sent_as = FORMATS.get(self.case.compression)
        return super().describe() | (
            {"gradient_communication": str(sent_as).removeprefix("torch.")} if sent_as else {}
        )

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        """Keeps a backward pass from reducing where more passes follow."""
        wrapper = cast(DistributedDataParallel, self.model)
        return wrapper.no_sync() if here else nullcontext()

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """Parameters under the names of the model without the wrapper."""
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
            self.probed = self._wrap(probed=True)
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
    group = session.group("data")
    # In its own format this is the buffer itself.
    sent = buffer.to(FORMATS.get(session.case.compression, buffer.dtype)).div_(group.size())
    start = probe.mark() if probe else None
    work = dist.all_reduce(sent, group=group, async_op=True)
    key = session.key("data", f"bucket{bucket.index()}")

    def finish(future: torch.futures.Future[Any]) -> torch.Tensor:
        if probe:
            probe.add("all_reduce", sent, start, probe.mark(), key)
        return buffer if sent is buffer else buffer.copy_(sent)

    return work.get_future().then(finish)
