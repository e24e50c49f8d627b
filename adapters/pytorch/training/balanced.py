"""Sessions that tell how long they were busy, and replicas whose shares of the batch may change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from adapters.pytorch.training.single import Training
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.splits.balancing import WINDOW
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
        self._queue = RunQueueClock.for_balancing([threading.get_native_id()])

    def seconds(self) -> float:
        """Returns the seconds so far."""
        return time.thread_time() + self._queue.seconds()


# Waits for the figures of all ranks and returns, for each of them, those of several steps.
Gathered = Callable[[], list[list[float]]]


class TellsBusy(Training):
    """Counts what its steps are busy for: the telling half of the contract's ``TellsBusy``."""

    _busy_clock: BusyClock | None = None
    _idle_s = 0.0  # what of the clock was no work of this rank, in the step that runs

    def gather_busy(self, seconds: list[float]) -> Gathered:
        """Begins to gather every rank's busy seconds of some steps.

        Args:
            seconds: Of this rank in each of the steps, oldest first.

        Returns:
            A function that waits for the same of all ranks and returns it by rank.
        """
        raise NotImplementedError

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        for gathered in self._travelling if self._busy_clock else ():
            gathered()
        self._kept: list[float] = []  # of steps that were not sent yet
        self._travelling: list[Gathered] = []
        self._busy_clock = BusyClock() if on else None

    def busy_seconds(self) -> Sequence[Sequence[float]]:
        """Returns the seconds that each rank was busy in the steps that are told of now."""
        return list(zip(*self._travelling.pop()(), strict=True)) if self._travelling else []

    def keep_busy(self, seconds: float) -> Gathered | None:
        """Keeps what a step was busy for, and sends it with that of other steps now and then.

        Args:
            seconds: Busy seconds of this rank in the step.

        Returns:
            How to get the figures of all ranks, if they travel now.
        """
        self._kept.append(seconds)
        if len(self._kept) < WINDOW:
            return None
        sent, self._kept = self._kept, []
        return self.gather_busy(sent)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Leaves what the clock counts in this context out of the step's busy seconds."""
        clock = self._busy_clock
        if clock is None:
            yield
            return
        began = clock.seconds()
        try:
            yield
        finally:
            self._idle_s += clock.seconds() - began


class BalancedShares(TellsBusy):
    """Trains data parallel by shares; implements ``suite.contract.adapter.TakesShares``.

    A step sends busy seconds once its gradients are reduced, and updates meanwhile. Sent at the
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
        super().__init__(case, rank, weights, inputs, device)

    @property
    def replica(self) -> int:
        """Which replica this rank belongs to."""
        raise NotImplementedError

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Returns this rank's samples of a global batch.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """
        share = dealt(self.shares, self.replica)
        return features[share], targets[share]

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
        if gathered := self.keep_busy(clock.seconds() - began):
            self._travelling.append(gathered)
        return loss

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on other shares from the next step on.

        Args:
            shares: Samples of each replica.
        """
        self.shares = tuple(shares)
        self.batches = [self.local(*self.inputs.at(i)) for i in range(self.inputs.count)]
