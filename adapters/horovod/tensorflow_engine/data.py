"""Data parallel: ``hvd.DistributedGradientTape``, contiguous shards of the global batch."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models.branch import Tensors
from suite.spec.planner import share_weighted
from suite.spec.strategies import batch_slice
from suite.spec.workloads import Weights


class DataSession(HorovodSession):
    """Gradients are averaged over ranks; equal shards make that the global-batch mean.

    Shards by the devices' speeds are weighted instead.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.case.device_speeds:
            self.loss_function = share_weighted(
                self.loss_function, self.case.devices, self.spec.global_batch
            )

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        share = batch_slice(
            len(features), self.case.axes.size("data"), self.position("data"),
            self.case.device_speeds,
        )
        return super().place(features[share], targets[share])

    def build(self, weights: Weights) -> Tensors:
        variables = super().build(weights)
        first = self.case.axes.group("data", self.rank.index)[0]
        hvd.broadcast_variables(
            list(variables.values()), first, process_set=self.process_set("data")
        )
        return variables

    def tape_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.stamps.on or self.silent:
            return self.reduce_gradients(super().tape_gradients(tape, loss))
        distributed = hvd.DistributedGradientTape(
            tape, sparse_as_dense=True, process_set=self.process_set("data")
        )
        reduced = distributed.gradient(loss, list(self.variables.values()))
        return dict(zip(self.variables, reduced, strict=True))

    def reduce_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The distributed tape's reductions one by one: with stamps, left out, or of a pipeline."""
        count = self.case.axes.size("data")
        return {
            name: self.sum(tensor, f"stamped.{name}", "data") / count
            for name, tensor in gradients.items()
        }

    def loss(self, handle: tf.Tensor) -> float:
        return float(hvd.allreduce(handle, name="loss", process_set=self.process_set("data")))
