"""Data parallel: ``hvd.DistributedGradientTape``, contiguous shards of the global batch."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models import dense_gradients, forward
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
            len(features), self.case.devices, self.rank.index, self.case.device_speeds
        )
        return super().place(features[share], targets[share])

    def build(self, weights: Weights) -> Tensors:
        variables = super().build(weights)
        hvd.broadcast_variables(list(variables.values()), root_rank=0)
        return variables

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with self.compute_device():
            with tf.GradientTape() as tape:
                loss = self.loss_function(forward(self.spec, self.variables, features), targets)
            if self.stamps.on or self.silent:
                return loss, self._one_by_one(tape, loss)
            distributed = hvd.DistributedGradientTape(tape, sparse_as_dense=True)
            reduced = distributed.gradient(loss, list(self.variables.values()))
            return loss, dict(zip(self.variables, reduced, strict=True))

    def _one_by_one(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        """The distributed tape's reductions one by one, each between two stamps or left out."""
        local = dense_gradients(tape.gradient(loss, dict(self.variables)))
        ranks = self.case.devices
        return {name: self.sum(tensor, f"stamped.{name}") / ranks for name, tensor in local.items()}

    def loss(self, handle: tf.Tensor) -> float:
        return float(hvd.allreduce(handle, name="loss"))
