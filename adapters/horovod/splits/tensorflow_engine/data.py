"""Data parallel: ``hvd.DistributedGradientTape``, and a contiguous shard of each global batch."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.training.balanced import BalancedShares
from suite.contract.splits.batches import dealt
from suite.contract.workloads import Weights


class DataSession(BalancedShares, HorovodSession):
    """Averages gradients over the ranks, which gives the mean of the global batch if shards are
    equal.

    If the shards follow the devices' speeds or busy times, the loss is weighted to give the same
    mean.
    """

    @property
    def replica(self) -> int:
        """The number of the replica that this rank belongs to."""
        return self.position("data")

    def summed(self, figures: tf.Tensor) -> tf.Tensor:
        """Returns, in a graph, the sum over all replicas.

        Args:
            figures: A number for each replica, (replicas,).
        """
        return hvd.allreduce(figures, op=hvd.Sum, name="busy", ignore_name_scope=True,
                             process_set=self.process_set("data"))

    @property
    def reduced_by_tape(self) -> bool:
        """Whether the tape reduces what it differentiates, as nothing comes in between."""
        return self.case.accumulate == 1 and not self.telling

    @property
    def compression(self) -> Any:
        """In which format gradients travel."""
        return hvd.Compression.fp16 if self.case.compression else hvd.Compression.none

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts this rank's shard of a global batch on its device."""
        share = dealt(self.shares, self.replica)
        return super().place(features[share], targets[share])

    def build(self, weights: Weights) -> Tensors:
        """Builds the model, and gives every replica the variables of the first."""
        variables = super().build(weights)
        first = self.case.axes.group("data", self.rank.index)[0]
        hvd.broadcast_variables(
            list(variables.values()), first, process_set=self.process_set("data")
        )
        return variables

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the gradients without waiting for all, since each is used as soon as it is
        reduced.
        """
        return gradients

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the loss and the reduced gradients of a batch.

        The distributed tape reduces what it differentiates. Sums over several micro-batches are no
        tape's result, and a replica that tells when its own gradients are there needs them before
        they are reduced, so these are reduced here.
        """
        loss, gradients = super().batch_gradients(features, targets)
        if self.reduced_by_tape:
            return loss, gradients
        return loss, self.reduce_gradients(self.own_gradients(gradients))

    def tape_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a tape's gradients, reduced unless ``batch_gradients`` does that."""
        if not self.reduced_by_tape:
            return super().tape_gradients(tape, loss)
        if self.stamps.on or self.silent:
            return self.reduce_gradients(super().tape_gradients(tape, loss))
        distributed = hvd.DistributedGradientTape(
            tape, sparse_as_dense=True, process_set=self.process_set("data"),
            compression=self.compression,
        )
        reduced = distributed.gradient(loss, list(self.variables.values()))
        return dict(zip(self.variables, reduced, strict=True))

    def reduce_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Averages each gradient over the replicas, as the distributed tape does.

        It stands for the tape if communications are to be timed or left out, or if gradients of
        several passes were added up.
        """
        count = self.case.axes.size("data")

        def mean(name: str, gradient: tf.Tensor) -> tf.Tensor:
            sent, as_before = self.compression.compress(gradient)
            total = self.sum(sent, f"stamped.{name}", "data")
            return self.compression.decompress(total, as_before) / count

        return {name: mean(name, gradient) for name, gradient in gradients.items()}

    def loss(self, handle: tf.Tensor) -> float:
        """Returns the mean loss of the global batch, which is the same on every rank."""
        return float(hvd.allreduce(handle, name="loss", process_set=self.process_set("data")))
