"""Sessions that tell how long they were busy, and replicas whose shares of the batch may change.

A graph that tells exchanges the busy seconds of the step before beside what else it communicates.
With other shares a replica computes on other shapes, so there is a graph for each plan. In such a
graph a stamp is taken when the replica's own gradients are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from adapters.tensorflow.training.single import Training
from adapters.tensorflow.training.stamps import stamp
from suite.contract.adapter import Inputs
from suite.contract.case import Case
from suite.contract.workloads import Weights


class TellsBusy(Training):
    """Exchanges what its steps were busy for: the telling half of the contract's ``TellsBusy``.

    Args:
        case: What is trained, and how.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
        devices: Names of the devices that this process drives.
    """

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.telling = False
        self._own_s = self._told = 0.0  # of the last step, and of the one that was told of
        super().__init__(case, weights, inputs, devices)
        if case.balances:  # after the strategy, which refuses operations before it
            with tf.device(devices[0]):
                self.mine = tf.Variable(0.0, dtype=tf.float64, trainable=False)
                self.everyone = tf.Variable(
                    tf.zeros(case.devices, tf.float64), trainable=False
                )

    @property
    def place_among(self) -> int:
        """Which of the devices that tell one another this process has."""
        raise NotImplementedError

    def summed(self, figures: tf.Tensor) -> tf.Tensor:
        """Returns, in a graph, the sum over all devices.

        Args:
            figures: A number for each device, (devices,).
        """
        raise NotImplementedError

    @property
    def tells(self) -> bool:
        """Whether the graph that is traced now exchanges busy seconds."""
        return self.telling and not self.silent and not self.stamps.on

    def exchange_busy(self) -> None:
        """Adds to a graph the exchange of the busy seconds of the step before."""
        figures = tf.one_hot(self.place_among, self.case.devices, dtype=tf.float64) * self.mine
        self.everyone.assign(self.summed(figures))

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        self.telling, self._own_s, self._told = on, 0.0, 0.0
        # The graphs that tell are not those that are measured with probes.
        self.train = self.new_graph()

    def step(self, index: int) -> tf.Tensor:
        """Trains on a global batch, and may exchange what the last step was busy for.

        Args:
            index: Number of the global batch.
        """
        if not self.telling:
            return super().step(index)
        self._told = self._own_s
        self.mine.assign(self._told)
        loss, self._own_s = self.counted(lambda: super(TellsBusy, self).step(index))
        return loss

    def counted(self, run: Callable[[], tf.Tensor]) -> tuple[tf.Tensor, float]:
        """Runs a step.

        Args:
            run: The step.

        Returns:
            What it returns, and the seconds that this process was busy with it.
        """
        raise NotImplementedError

    def busy_seconds(self) -> Sequence[Sequence[float]]:
        """Returns the seconds that each device was busy in the step before the last."""
        return [self.everyone.numpy().tolist()] if self._told else []


class BalancedShares(TellsBusy):
    """Trains data parallel with a process for each replica, by shares that may change.

    It implements ``suite.contract.adapter.TakesShares``.

    Args:
        case: What is trained, and how.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
        devices: Names of the devices that this process drives.
    """

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.inputs, self.shares = inputs, case.planned_shares
        self._graphs: dict[tuple[int, ...], Callable[..., Any]] = {}
        super().__init__(case, weights, inputs, devices)
        if case.balances:
            with tf.device(devices[0]):
                self.ready_at = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    @property
    def replica(self) -> int:
        """Which replica this process has."""
        raise NotImplementedError

    @property
    def place_among(self) -> int:
        """Which of the devices that tell one another this process has."""
        return self.replica

    def own_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds, to a graph that tells, a stamp of when the replica's own gradients are there.

        Args:
            gradients: Canonical name to gradient, before replicas reduce them.

        Returns:
            The same gradients; they do not wait for the stamp.
        """
        if self.tells:
            self.exchange_busy()
            with tf.control_dependencies(list(gradients.values())):
                stamp(self.ready_at, self.devices[0])
        return gradients

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        super().tell_busy(on)
        self._graphs = {self.shares: self.train}

    def counted(self, run: Callable[[], tf.Tensor]) -> tuple[tf.Tensor, float]:
        """Runs a step.

        Args:
            run: The step.

        Returns:
            What it returns, and the seconds from its start until the replica's own gradients were
            there.
        """
        began = time.time()
        loss = run()
        return loss, float(self.ready_at.numpy()) - began

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on other shares from the next step on.

        All replicas trace the graph of a plan in the same step, since TensorFlow matches what they
        exchange by the order in which it was traced.

        Args:
            shares: Samples of each replica.
        """
        self.shares = tuple(shares)
        self.batches = [self.place(*self.inputs.at(i)) for i in range(self.inputs.count)]
        if self.shares not in self._graphs:
            self._graphs[self.shares] = self.new_graph()
        self.train = self._graphs[self.shares]
