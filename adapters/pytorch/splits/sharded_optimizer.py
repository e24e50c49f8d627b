"""ZeRO stage 1: ``DistributedDataParallel`` with ``ZeroRedundancyOptimizer``."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer

from adapters.pytorch.models.images import laid_out
from adapters.pytorch.splits.data import DataSession
from suite.contract.workloads import Weights


class ShardedOptimizerSession(DataSession):
    """Splits the optimiser's state: a rank has the moments of some of the parameters.

    It updates these and broadcasts them to the others. Gradients are all-reduced as in the plain
    variant.
    """

    def bare(self, weights: Weights) -> nn.Module:
        """Builds the model that the wrapper holds, with contiguous parameters.

        Args:
            weights: Canonical name to initial parameter.
        """
        # The optimiser's buckets hold parameters in the order of their axes.
        return laid_out(super().bare(weights), torch.contiguous_format)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes an optimiser that knows all parameters and updates those of this rank."""
        return _ShardedOptimizer(self)


class _ShardedOptimizer(ZeroRedundancyOptimizer):
    """Marks its broadcasts while a probe is attached, and leaves them out of a silent step."""

    def __init__(self, session: ShardedOptimizerSession) -> None:
        adam = session.spec.optimizer
        self.session = session
        super().__init__(
            session.model.parameters(), torch.optim.Adam, session.group("data"),
            parameters_as_bucket_view=True,
            lr=adam.learning_rate, betas=(adam.beta1, adam.beta2), eps=adam.epsilon, fused=True,
        )

    def _broadcast_params_from_rank(self, rank: int) -> list[Any]:
        session = self.session
        if session.silent:
            return []
        probe = session.probe
        start = probe.mark() if probe else None
        works: list[Any] = super()._broadcast_params_from_rank(rank)  # type: ignore[misc]
        if probe is None:
            return works
        buckets = [of_device[rank] for of_device in self._buckets]
        return [
            _MarkedWork(session, work, bucket, start)
            for work, bucket in zip(works, buckets, strict=True)
        ]


class _MarkedWork:
    """Stands for a broadcast; the thread that completes it marks its end."""

    def __init__(
        self, session: ShardedOptimizerSession, work: dist.Work, bucket: torch.Tensor, start: Any
    ) -> None:
        probe = session.probe
        assert probe is not None
        key = probe.number(session.key("data", "updated"))

        def finish(future: torch.futures.Future[Any]) -> Any:
            probe.add("broadcast", bucket, start, probe.mark(), key)
            return future.value()

        self._finished = work.get_future().then(finish)

    def wait(self) -> None:
        """Waits until the broadcast has ended and is marked."""
        self._finished.wait()
