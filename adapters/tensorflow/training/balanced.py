"""Replicas whose shares of the batch may change between steps, and what they were busy for.

What a replica computes has other shapes with other shares, so there is a graph for each plan. In a
graph a stamp is taken when a replica's own gradients are there, and the figure of the step before
travels beside the gradients.
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


class BalancedShares(Training):
    """Data parallel with a process for each replica; a ``suite.contract.adapter.TakesShares``."""

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.inputs, self.shares = inputs, case.planned_shares
        self.telling = False
        self._own_s = self._told = 0.0  # of the last step, and of the one that was told of
        self._graphs: dict[tuple[int, ...], Callable[..., Any]] = {}
        super().__init__(case, weights, inputs, devices)
        if case.balances:  # after the strategy, which refuses operations before it
            with tf.device(devices[0]):
                self.ready_at = tf.Variable(0.0, dtype=tf.float64, trainable=False)
                self.mine = tf.Variable(0.0, dtype=tf.float64, trainable=False)
                self.everyone = tf.Variable(
                    tf.zeros(case.devices, tf.float64), trainable=False
                )

    @property
    def replica(self) -> int:
        """Which replica this process has."""
        raise NotImplementedError

    def summed(self, figures: tf.Tensor) -> tf.Tensor:
        """In a graph: the sum over all replicas."""
        raise NotImplementedError

    def own_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """In a graph: marks that the replica's own gradients are there; they wait for nothing."""
        if self.telling and not self.silent and not self.stamps.on:
            figures = tf.one_hot(self.replica, self.case.devices, dtype=tf.float64) * self.mine
            self.everyone.assign(self.summed(figures))
            with tf.control_dependencies(list(gradients.values())):
                stamp(self.ready_at, self.devices[0])
        return gradients

    def share_out(self, on: bool) -> None:
        """From now on steps tell what they were busy for, or no longer do."""
        self.telling, self._own_s, self._told = on, 0.0, 0.0
        # Graphs that tell are none of those that are measured with probes.
        self._graphs = {}
        self.train = self._graphs[self.shares] = self.new_graph()

    def step(self, index: int) -> tf.Tensor:
        """Trains on global batch ``index``; tells of the step before where shares are balanced."""
        if not self.telling:
            return super().step(index)
        self._told = self._own_s
        self.mine.assign(self._told)
        began = time.time()
        loss = super().step(index)
        self._own_s = float(self.ready_at.numpy()) - began
        return loss

    def busy_seconds(self) -> Sequence[float]:
        """Seconds that each replica was busy in the step before the last."""
        figures: list[float] = self.everyone.numpy().tolist() if self._told else []
        return figures

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on these samples of each replica from the next step on.

        All replicas trace a plan's graph in the same step: what they exchange is matched by it.
        """
        self.shares = tuple(shares)
        self.batches = [self.place(*self.inputs.at(i)) for i in range(self.inputs.count)]
        if self.shares not in self._graphs:
            self._graphs[self.shares] = self.new_graph()
        self.train = self._graphs[self.shares]
