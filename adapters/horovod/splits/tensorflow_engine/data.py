"""Data parallel: ``hvd.DistributedGradientTape``, contiguous shards of the global batch."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.tensorflow.models.branch import Tensors
from suite.contract.splits.batches import batch_slice
from suite.contract.workloads import Weights


class DataSession(HorovodSession):
    """Gradients are averaged over ranks; equal shards make that the global-batch mean.

    Shards by the devices' speeds come with a weighted loss instead.
    """

    @property
    def compression(self) -> Any:
        """How gradients travel."""
        return hvd.Compression.fp16 if self.case.compression else hvd.Compression.none

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts a batch on the devices that compute with it."""
        share = batch_slice(
            len(features), self.case.axes.size("data"), self.position("data"),
            self.case.device_speeds,
        )
        return super().place(features[share], targets[share])

    def build(self, weights: Weights) -> Tensors:
        """Builds what this rank holds of the model."""
        variables = super().build(weights)
        first = self.case.axes.group("data", self.rank.index)[0]
        hvd.broadcast_variables(
            list(variables.values()), first, process_set=self.process_set("data")
        )
        return variables

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As they are reduced: others are still on their way meanwhile."""
        return gradients

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The tape reduces what it differentiates, so sums over micro-batches are reduced here."""
        loss, gradients = super().batch_gradients(features, targets)
        return loss, gradients if self.case.accumulate == 1 else self.reduce_gradients(gradients)

    def tape_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gradients by a tape."""
        if self.case.accumulate > 1:
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
        """What the distributed tape does, one by one: with stamps, left out, of several passes."""
        count = self.case.axes.size("data")

        def mean(name: str, gradient: tf.Tensor) -> tf.Tensor:
            sent, as_before = self.compression.compress(gradient)
            total = self.sum(sent, f"stamped.{name}", "data")
            return self.compression.decompress(total, as_before) / count

        return {name: mean(name, gradient) for name, gradient in gradients.items()}

    def loss(self, handle: tf.Tensor) -> float:
        """Mean loss of the global batch, the same value on every rank."""
        return float(hvd.allreduce(handle, name="loss", process_set=self.process_set("data")))
