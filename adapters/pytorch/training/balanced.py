"""Replicas whose shares of the batch may change between steps, and what they were busy for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from adapters.pytorch.training.single import Training
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.splits.batches import dealt
from suite.contract.threads import RunQueueClock
from suite.contract.workloads import Weights


class BusyClock:
    """Seconds that the thread which makes it has computed, or was ready to and had no core.

    What waits for other ranks sleeps, so that neither part grows meanwhile.

    Raises:
        RuntimeError: The kernel does not tell how long a thread waits for a core.
    """

    def __init__(self) -> None:
        self._queue = RunQueueClock([threading.get_native_id()])
        if not self._queue.tells:
            raise RuntimeError("balancing needs /proc/self/task/*/schedstat, and this kernel has "
                               "none: use --balance static")

    def seconds(self) -> float:
        """So far."""
        return time.thread_time() + self._queue.seconds()


class BalancedShares(Training):
    """Data parallel by shares; implements ``suite.contract.adapter.TakesShares``.

    A step begins to send what the step before it took and computes meanwhile.
    """

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.inputs, self.shares = inputs, case.planned_shares
        self._busy_clock: BusyClock | None = None
        self._own_s = 0.0  # of the last step; 0.0 before there was one
        self._waiting: list[Callable[[], list[float]]] = []
        super().__init__(case, rank, weights, inputs, device)

    @property
    def replica(self) -> int:
        """Which replica this rank belongs to."""
        raise NotImplementedError

    def send_busy(self, seconds: float) -> Callable[[], list[float]]:
        """Begins to gather every rank's busy seconds; returns what waits for all of them."""
        raise NotImplementedError

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """This rank's samples of the global batch."""
        share = dealt(self.shares, self.replica)
        return features[share], targets[share]

    def share_out(self, on: bool) -> None:
        """From now on steps tell what they were busy for, or no longer do."""
        for wait in self._waiting:
            wait()
        self._waiting, self._own_s = [], 0.0
        self._busy_clock = BusyClock() if on else None

    def forward_backward(self, index: int) -> torch.Tensor:
        """Runs the forward and backward pass; reads the clock around it where shares are balanced.

        The clock stands still while the backward pass waits for other ranks.
        """
        clock = self._busy_clock
        if clock is None:
            return super().forward_backward(index)
        if self._own_s:
            self._waiting.append(self.send_busy(self._own_s))
        began = clock.seconds()
        loss = super().forward_backward(index)
        self._own_s = clock.seconds() - began
        return loss

    def busy_seconds(self) -> Sequence[float]:
        """Seconds that each replica was busy in the step before the last."""
        return self._waiting.pop()() if self._waiting else []

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on these samples of each replica from the next step on."""
        self.shares = tuple(shares)
        self.batches = [self.local(*self.inputs.at(i)) for i in range(self.inputs.count)]
