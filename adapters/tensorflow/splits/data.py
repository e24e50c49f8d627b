"""Data parallel: ``MirroredStrategy`` on contiguous shards of the global batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import tensorflow as tf

from adapters.tensorflow.models.branch import Tensors, named_variable
from adapters.tensorflow.training.optimizer import Adam
from adapters.tensorflow.training.single import Training
from adapters.tensorflow.training.stamps import Stamps, size_bytes
from adapters.tensorflow.training.xplane import REDUCTION_SCOPE
from suite.contract.splits.batches import dealt
from suite.contract.workloads import Weights


class DataSession(Training):
    """Averages gradients over replicas; with equal shards that is the mean of the global batch.

    With shards by the devices' speeds the replicas get batches of unequal shapes, and a weighted
    loss.
    """

    reduction: _StampedReduction | None = None

    def __init__(self, *arguments: Any) -> None:
        self.case = arguments[0]
        self.shares = self.case.planned_shares
        self.strategy = self.make_strategy(arguments[-1])
        super().__init__(*arguments)
        if self.reduction:
            self.reduction.stamps = self.stamps

    def make_strategy(self, devices: list[str]) -> tf.distribute.Strategy:
        """Returns the strategy object of TensorFlow under which this session trains.

        Args:
            devices: Names of the devices.
        """
        # On CPUs the strategy would choose ring collectives, which take longer inside one process.
        # On GPUs the strategy's own choice (NCCL) is kept.
        self.reduction = _StampedReduction() if self.case.device == "cpu" else None
        return tf.distribute.MirroredStrategy(devices, self.reduction)

    def describe(self) -> dict[str, str]:
        """Returns the session's entries of the ledger, and which reduction it uses."""
        # The strategy tells what reduces between its devices in no public way.
        reducing = getattr(self.strategy.extended, "_cross_device_ops", None)
        kind = (tf.distribute.ReductionToOneDevice if self.reduction else type(reducing)).__name__
        return super().describe() | {"collectives": kind}

    def graph_of(self, function: Callable[..., Any]) -> Any:
        """Makes a graph of a function that spans devices.

        In compiled mode XLA compiles the part of each replica, not the whole.

        Args:
            function: The function.
        """
        return tf.function(function, autograph=False)

    @cached_property
    def local_gradients(self) -> Callable[..., Any]:
        """The function that computes a replica's loss and gradients."""
        compute = self.accumulated
        return super().graph_of(compute) if self.case.mode == "compiled" else compute

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts each replica's share of a batch on its device.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """

        def shard(context: tf.distribute.ValueContext) -> tuple[tf.Tensor, tf.Tensor]:
            share = dealt(self.shares, context.replica_id_in_sync_group)
            # The strategy sets a replica's device in steps, but not where values are made.
            with tf.device(self.devices[context.replica_id_in_sync_group % len(self.devices)]):
                return self.tensor(features[share]), self.tensor(targets[share])

        return self.strategy.experimental_distribute_values_from_function(shard)

    def build(self, weights: Weights) -> Tensors:
        """Makes the variables, one copy on each device."""
        with self.strategy.scope():
            return {name: named_variable(name, self.tensor(array))
                    for name, array in weights.items()}

    def make_optimizer(self) -> Adam:
        """Makes the optimiser under the strategy."""
        with self.strategy.scope():
            return super().make_optimizer()

    def compute_device(self) -> AbstractContextManager[Any]:
        """Returns a context that places nothing: the strategy has placed the replica already."""
        return nullcontext()

    def replica_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns, in a replica, its loss and the mean gradients of all replicas.

        Args:
            features: The replica's features.
            targets: The replica's targets.
        """
        loss, local = self.local_gradients(features, targets)
        local = self.own_gradients(local)
        if self.silent:
            return loss, local
        return loss, self.all_reduced(local)

    def own_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns, in a replica, its own gradients before those of others are waited for."""
        return gradients

    def all_reduced(self, local: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns, in a replica, the mean of all replicas' gradients.

        Args:
            local: Name to the replica's own gradient.
        """
        context = tf.distribute.get_replica_context()
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, list(local.values()))
        return dict(zip(local, mean, strict=True))

    def training_step(self, features: Any, targets: Any) -> tf.Tensor:
        """Trains one step in every replica, inside a graph, and returns the handle of its loss.

        Args:
            features: What ``place`` made of the features.
            targets: What ``place`` made of the targets.
        """
        def replica_step(features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
            loss, gradients = self.replica_gradients(features, targets)
            self.optimizer.apply(gradients)
            return loss

        return self.step_loss(self.strategy.run(replica_step, (features, targets)))

    def step_loss(self, losses: Any) -> tf.Tensor:
        """Returns the handle of a step's loss, from the losses of the replicas."""
        return self.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)


class _StampedReduction(tf.distribute.ReductionToOneDevice):
    """Stamps, for each gradient and device, when it was ready there and when reduced there."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps: Stamps | None = None

    def batch_reduce_implementation(
        self, reduce_op: Any, value_destination_pairs: Sequence[Any], options: Any
    ) -> list[Any]:
        """Reduces gradients as TensorFlow does, between two stamps if probes are attached."""
        if self.stamps is None or not self.stamps.on:
            return super().batch_reduce_implementation(reduce_op, value_destination_pairs, options)
        values = [value.values for value, _ in value_destination_pairs]
        ready = [
            [self.stamps.mark(device, [tensor]) for device, tensor in enumerate(parts)]
            for parts in values
        ]
        with tf.name_scope(REDUCTION_SCOPE):
            reduced = super().batch_reduce_implementation(
                reduce_op, value_destination_pairs, options
            )
        for number, (starts, result) in enumerate(zip(ready, reduced, strict=True)):
            for device, (start, tensor) in enumerate(zip(starts, result.values, strict=True)):
                end = self.stamps.mark(device, [tensor])
                key, size = f"gradient.{number}", size_bytes(tensor)
                self.stamps.member("all_reduce", key, device, size, start, end)
        return list(reduced)
