"""Intra-layer by manual placement: split a layer over the devices, compute, merge on the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models import Tensors, dense_gradients, forward
from adapters.tensorflow.models.branch import Branch
from adapters.tensorflow.placement import PlacedSession
from suite.spec.strategies import shard_axes
from suite.spec.workloads import Weights


class IntraLayerSession(PlacedSession):
    """Parts that no plan splits (norms, embeddings, the loss) live on the first device."""

    def build(self, weights: Weights) -> Tensors:
        axes = shard_axes(self.spec)
        with tf.device(self.devices[0]):
            self.whole = {
                name: tf.Variable(self.tensor(array))
                for name, array in weights.items() if name not in axes
            }
        self.shards = [self._shard(weights, axes, part) for part in range(self.case.devices)]
        held = {f"{name}@{part}": variable for part, shard in enumerate(self.shards)
                for name, variable in shard.items()}
        return {**self.whole, **held}

    def _shard(self, weights: Weights, axes: dict[str, int], part: int) -> Tensors:
        with tf.device(self.devices[part]):
            return {
                name: tf.Variable(
                    self.tensor(np.split(weights[name], self.case.devices, axis)[part])
                )
                for name, axis in axes.items()
            }

    def apply(self, branch: Branch, x: tf.Tensor) -> tf.Tensor:
        """The branch's shards side by side; their partial results add up."""
        partials = []
        for part, device in enumerate(self.devices):
            copy = self.hop(x, 0, part)
            with tf.device(device):
                partial = branch(self.shards[part], copy)
            partials.append(self.hop(partial, part, 0))
        with tf.device(self.devices[0]):
            return tf.add_n(partials)

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.device(self.devices[0]):
            logits = forward(self.spec, self.whole, features, apply=self.apply)
            loss = self.loss_function(logits, targets)
        # Not a tape: only tf.gradients places each gradient beside its forward operation.
        gradients = tf.gradients(loss, list(self.variables.values()))
        return loss, dense_gradients(dict(zip(self.variables, gradients, strict=True)))

    def gather(self, held: dict[str, np.ndarray]) -> Weights:
        axes = shard_axes(self.spec)

        def one(name: str) -> Any:
            if name not in axes:
                return held[name]
            parts = [held[f"{name}@{part}"] for part in range(self.case.devices)]
            return np.concatenate(parts, axes[name])

        return {name: one(name) for name in self.names}
