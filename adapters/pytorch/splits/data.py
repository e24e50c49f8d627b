"""Data parallel: ``DistributedDataParallel`` on contiguous shards of the global batch."""

# Annotations must not be postponed in this file, because DDP compares a hook's annotations with the
# classes themselves.
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from adapters.pytorch.splits.group import DataParallelSession
from suite.contract.workloads import Weights

FORMATS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def _bf16_compress(
    group: dist.ProcessGroup, bucket: dist.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """Calls PyTorch's own hook under another name.

    On CPUs DDP refuses the hook by its name, although gloo can sum bfloat16 too.
    """
    return default_hooks.bf16_compress_hook(group, bucket)


HOOKS = {"fp16": default_hooks.fp16_compress_hook, "bf16": _bf16_compress}


class DataSession(DataParallelSession):
    """Every rank trains on its share of the batch, and gradients are averaged over the ranks."""

    def build(self, weights: Weights) -> DistributedDataParallel:
        """Builds the model and wraps it, so that its gradients are averaged."""
        self.inner = self.bare(weights)
        return self._wrap()

    def bare(self, weights: Weights) -> nn.Module:
        """Builds the model that the wrapper holds."""
        return super().build(weights)

    def _wrap(self, probed: bool = False) -> DistributedDataParallel:
        ids = [self.device.index] if self.device.type == "cuda" else None
        # The models' buffers are constants, so broadcasting them in every step would be wasted.
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
        """Returns the session's entries of the ledger, with the format of sent gradients."""
        sent_as = FORMATS.get(self.case.compression)
        return super().describe() | (
            {"gradient_communication": str(sent_as).removeprefix("torch.")} if sent_as else {}
        )

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        """Keeps backward passes from reducing gradients as long as further passes follow.

        Args:
            here: Whether the gradients of the next pass stay on this rank.
        """
        wrapper = cast(DistributedDataParallel, self.model)
        return wrapper.no_sync() if here else nullcontext()

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """Returns the parameters under the names of the model without the wrapper."""
        wrapped, self.model = self.model, self.inner
        try:
            return super().named_parameters()
        finally:
            self.model = wrapped

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Trains through a wrapper with probes.

        A hook can be registered only once and never be removed, so probes have a wrapper of their
        own.
        """
        probed = self._probed()
        with super().watched(), self.using(probed):
            yield

    def _probed(self) -> DistributedDataParallel:
        if not hasattr(self, "probed"):
            self.probed = self._wrap(probed=True)
            # DDP arranges its buckets anew after the first iteration, so that one is not measured.
            with self.using(self.probed):
                self.forward_backward(0)
            self.optimizer.zero_grad()
        return self.probed

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Trains without reducing gradients.

        A pipeline's stages ask DDP to reduce whatever it was told, so there the wrapper is left
        out.
        """
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
    """Averages a bucket as DDP does, and marks when the communication began and ended."""
    buffer, probe = bucket.buffer(), session.probe
    group = session.group("data")
    # Without compression this is the buffer itself.
    sent = buffer.to(FORMATS.get(session.case.compression, buffer.dtype)).div_(group.size())
    start = probe.mark() if probe else None
    work = dist.all_reduce(sent, group=group, async_op=True)
    key = session.key("data", f"bucket{bucket.index()}")

    def finish(future: torch.futures.Future[Any]) -> torch.Tensor:
        if probe:
            probe.add("all_reduce", sent, start, probe.mark(), key)
        return buffer if sent is buffer else buffer.copy_(sent)

    return work.get_future().then(finish)
