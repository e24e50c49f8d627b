"""Data parallel over processes: ``MultiWorkerMirroredStrategy``, a worker for each device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import tensorflow as tf

from adapters.tensorflow.splits.data import DataSession
from adapters.tensorflow.training.single import Clocks, Graph
from adapters.tensorflow.training.stamps import size_bytes

NO_CLOCK = "T_i: a worker's collectives run on its threads, only a profile tells them apart"


class MultiWorkerSession(DataSession):
    """A rank is a worker with one replica; TF_CONFIG, from the launch plan, names the others.

    Ring all-reduces over gRPC between CPUs, NCCL between GPUs, which the strategy does not choose.
    """

    no_clock = NO_CLOCK

    def make_strategy(self, devices: list[str]) -> tf.distribute.Strategy:
        """The strategy object of TensorFlow that this session trains under."""
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=self.options)

    @property
    def options(self) -> tf.distribute.experimental.CommunicationOptions:
        """What carries gradients between the workers: NCCL between GPUs."""
        kinds = tf.distribute.experimental.CommunicationImplementation
        kind = kinds.NCCL if self.case.device == "cuda" else kinds.AUTO
        return tf.distribute.experimental.CommunicationOptions(implementation=kind)

    @cached_property
    def average(self) -> Graph:
        """The mean over all workers of a number that each has; a collective call."""

        def mean(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # An argument of a graph is on no device yet.
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.identity(value))

        return tf.function(lambda value: self.local(self.strategy.run(mean, (value,))),
                           autograph=False)

    def local(self, value: Any) -> tf.Tensor:
        """What this worker's replica has of a value."""
        return self.strategy.experimental_local_results(value)[0]

    def all_reduced(self, local: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As everywhere, and each gradient between two stamps where the graph holds them."""
        if not self.stamps.on:
            return super().all_reduced(local)
        starts = [self.stamps.mark(0, [tensor]) for tensor in local.values()]
        found = super().all_reduced(local)
        for number, (start, tensor) in enumerate(zip(starts, found.values(), strict=True)):
            end = self.stamps.mark(0, [tensor])
            key, size = f"gradient.{number}", size_bytes(tensor)
            self.stamps.member("all_reduce", key, 0, size, start, end)
        return found

    def step_loss(self, losses: Any) -> tf.Tensor:
        """This worker's: the mean is taken where it is asked for, not in every step."""
        return self.local(losses)

    def loss(self, handle: tf.Tensor) -> float:
        """Mean loss of the global batch, the same value on every rank."""
        return float(self.average(handle))

    def agree(self, ready: bool) -> bool:
        """Whether every rank says so; a collective call."""
        return float(self.average(tf.constant(float(ready)))) == 1.0

    def clocked(self, run: Callable[[], None]) -> Clocks:
        """Runs a step; no clock tells its threads that compute from those that communicate."""
        run()
        return Clocks(())

    def describe(self) -> dict[str, str]:
        """The ledger of the session, with what this strategy adds to it."""
        found = super().describe()
        collectives = found["collectives"]
        return found | {
            "backend": "gRPC ring" if self.case.device == "cpu" else "NCCL",
            "collectives": f"{collectives}, {self.options.implementation.value}",
        }

    def close(self) -> None:
        """Leaves the process group, once every rank is ready to."""
        # A worker that leaves takes the others' last collective with it.
        self.agree(True)
