"""Replicas whose shares of the batch may change between steps."""

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
    """Counts the seconds in which its thread has computed, or was ready to and had no core.

    A thread that waits for other ranks sleeps, so neither part grows meanwhile.

    Raises:
        RuntimeError: The kernel does not tell how long a thread waits for a core.
    """

    def __init__(self) -> None:
        self._queue = RunQueueClock([threading.get_native_id()])
        if not self._queue.tells:
            raise RuntimeError("balancing needs /proc/self/task/*/schedstat, and this kernel has "
                               "none: use --balance static")

    def seconds(self) -> float:
        """Returns the seconds so far."""
        return time.thread_time() + self._queue.seconds()


class BalancedShares(Training):
    """Trains data parallel by shares; implements ``suite.contract.adapter.TakesShares``.

    A step sends its busy seconds once its gradients are reduced, and updates meanwhile. Sent at the
    start of the next step they would wait in the group's queue beside the first gradients.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
        device: The device from ``open_device``.
    """

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.inputs, self.shares = inputs, case.planned_shares
        self._busy_clock: BusyClock | None = None
        self._waiting: list[Callable[[], list[float]]] = []
        super().__init__(case, rank, weights, inputs, device)

    @property
    def replica(self) -> int:
        """Which replica this rank belongs to."""
        raise NotImplementedError

    def send_busy(self, seconds: float) -> Callable[[], list[float]]:
        """Begins to gather every rank's busy seconds.

        Args:
            seconds: Busy seconds of this rank.

        Returns:
            A function that waits for the figures of all ranks and returns them.
        """
        raise NotImplementedError

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Returns this rank's samples of a global batch.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """
        share = dealt(self.shares, self.replica)
        return features[share], targets[share]

    def share_out(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        for wait in self._waiting:
            wait()
        self._waiting = []
        self._busy_clock = BusyClock() if on else None

    def forward_backward(self, index: int) -> torch.Tensor:
        """Runs the forward and backward pass, and reads the clock around it if shares are balanced.

        The clock stands still while the backward pass waits for other ranks.

        Args:
            index: Number of the global batch.

        Returns:
            The mean loss of this rank's samples, detached.
        """
        clock = self._busy_clock
        if clock is None:
            return super().forward_backward(index)
        began = clock.seconds()
        loss = super().forward_backward(index)
        self._waiting.append(self.send_busy(clock.seconds() - began))
        return loss

    def busy_seconds(self) -> Sequence[float]:
        """Returns the seconds that each replica was busy in the last step."""
        return self._waiting.pop()() if self._waiting else []

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on other shares from the next step on.

        Args:
            shares: Samples of each replica.
        """
        self.shares = tuple(shares)
        self.batches = [self.local(*self.inputs.at(i)) for i in range(self.inputs.count)]
