"""Data parallel over processes: ``MultiWorkerMirroredStrategy`` with a worker for each device."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from adapters.tensorflow.splits.data import DataSession
from adapters.tensorflow.training.balanced import BalancedShares
from adapters.tensorflow.training.single import Clocks, Graph
from adapters.tensorflow.training.stamps import size_bytes

NO_CLOCK = ("T_i: a worker's collectives run on the threads that compute, and only a profile tells "
            "them apart")


class MultiWorkerSession(BalancedShares, DataSession):
    """A rank is a worker with one replica; TF_CONFIG, from the launch plan, names the others.

    Gradients travel by ring all-reduces over gRPC between CPUs, and by NCCL between GPUs, which
    the strategy does not choose by itself.
    """

    no_clock = NO_CLOCK

    def make_strategy(self, devices: list[str]) -> tf.distribute.Strategy:
        """Returns the strategy object of TensorFlow under which this session trains."""
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=self.options)

    @property
    def options(self) -> tf.distribute.experimental.CommunicationOptions:
        """What carries gradients between the workers: NCCL between GPUs."""
        kinds = tf.distribute.experimental.CommunicationImplementation
        kind = kinds.NCCL if self.case.device == "cuda" else kinds.AUTO
        return tf.distribute.experimental.CommunicationOptions(implementation=kind)

    @cached_property
    def average(self) -> Graph:
        """A graph that returns the mean over all workers of a number that each has.

        Calling it is a collective call.
        """

        def mean(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # The argument of a graph is on no device yet; the identity is.
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(value))

        return tf.function(lambda value: self.local(self.strategy.run(mean, (value,))),
                           autograph=False)

    @property
    def replica(self) -> int:
        """The number of the replica that this worker has."""
        return int(self.strategy.cluster_resolver.task_id)

    def summed(self, figures: tf.Tensor) -> tf.Tensor:
        """Returns, in a graph, the sum over all replicas.

        Args:
            figures: A number for each replica, (replicas,).
        """
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, figures)

    def local(self, value: Any) -> tf.Tensor:
        """Returns what this worker's replica has of a value."""
        return self.strategy.experimental_local_results(value)[0]

    def all_reduced(self, local: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Averages gradients as in any replica, between two stamps if probes are attached.

        Args:
            local: Name to the replica's own gradient.
        """
        if not self.stamps.on:
            return super().all_reduced(local)
        starts = [self.stamps.mark(0, [tensor]) for tensor in local.values()]
        averaged = super().all_reduced(local)
        for number, (start, tensor) in enumerate(zip(starts, averaged.values(), strict=True)):
            end = self.stamps.mark(0, [tensor])
            key, size = f"gradient.{number}", size_bytes(tensor)
            self.stamps.member("all_reduce", key, 0, size, start, end)
        return averaged

    def step_loss(self, losses: Any) -> tf.Tensor:
        """Returns this worker's loss.

        ``loss`` takes the mean when it is asked for, so that no step has to.
        """
        return self.local(losses)

    def loss(self, handle: tf.Tensor) -> float:
        """Returns the mean loss of the global batch, the same value on every rank."""
        return float(self.average(handle))

    def agree(self, ready: bool) -> bool:
        """Returns True if ``ready`` is true on every rank; a collective call."""
        return float(self.average(tf.constant(float(ready)))) == 1.0

    @cached_property
    def total(self) -> Graph:
        """A graph that returns the sum over all workers of an array that each has.

        Calling it is a collective call.
        """

        def add(array: tf.Tensor) -> tf.Tensor:
            return self.summed(tf.identity(array))

        return tf.function(lambda array: self.local(self.strategy.run(add, (array,))),
                           autograph=False)

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells, in the order of the ranks; a collective call.

        Workers only add up arrays of one shape, so each adds its text, as numbers, to its own row.
        """
        text = np.frombuffer(json.dumps(told).encode(), np.uint8)
        lengths = self._rows(np.array([len(text)]), 1)[:, 0]
        # A graph is made for each width; powers of two need few.
        rows = self._rows(text, 1 << int(lengths.max() - 1).bit_length())
        return [json.loads(row[:length].astype(np.uint8).tobytes())
                for row, length in zip(rows, lengths, strict=True)]

    def _rows(self, mine: np.ndarray, width: int) -> np.ndarray:
        """Returns the whole numbers that every worker has, (workers, width)."""
        rows = np.zeros((self.case.devices, width))
        rows[self.replica, : len(mine)] = mine
        return np.asarray(self.total(tf.constant(rows))).astype(int)

    def clocked(self, run: Callable[[], None]) -> Clocks:
        """Runs a step without a compute clock.

        No clock tells the threads that compute from those that communicate.
        """
        run()
        return Clocks(())

    def describe(self) -> dict[str, str]:
        """Returns the session's entries of the ledger, with backend and collectives."""
        found = super().describe()
        collectives = found["collectives"]
        return found | {
            "backend": "gRPC ring" if self.case.device == "cpu" else "NCCL",
            "collectives": f"{collectives}, {self.options.implementation.value}",
        }

    def close(self) -> None:
        """Waits until every rank is ready to leave."""
        # A worker that left early would break the others' last collective.
        self.agree(True)
