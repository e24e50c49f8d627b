"""Intra-layer: branches on this rank's shards between two custom-gradient collectives."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from adapters.horovod.common import merge_shards, my_shard
from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Branch, Share, Tensors, held, sums
from suite.spec.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> Tensors:
        part = {
            name: my_shard(self.spec, name, array, self.rank.index, self.case.devices)
            for name, array in weights.items()
        }
        return super().build(part)

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        plans = enumerate(self.spec.branches())
        weights = held(self.spec, self.variables, features)

        def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
            number, plan = next(plans)
            share = Share(branch, weights)
            for turn in range(sums(plan)):
                name = f"{self.turn}.{number}.{turn}"
                partial, finish = share.advance(self._enter(f"enter.{name}")(x))
                x = finish(weights, self._merge(f"merge.{name}")(partial))
            return x

        with self.compute_device():
            with tf.GradientTape() as tape:
                logits = forward(self.spec, self.variables, features, apply=apply)
                loss = self.loss_function(logits, targets)
            return loss, dense_gradients(tape.gradient(loss, dict(self.variables)))

    def _enter(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Identity forward, sum of the ranks' gradients backward ("f" of Shoeybi et al. 2019)."""

        @tf.custom_gradient
        def enter(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return tf.identity(x), lambda gradient: self.sum(gradient, name)

        return enter

    def _merge(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Sum of the ranks' parts forward, identity backward ("g" of Shoeybi et al. 2019).

        Not ``hvd.allreduce``'s own gradient: it sums again, and every rank holds the whole one.
        """

        @tf.custom_gradient
        def merge(part: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return self.sum(part, name), lambda gradient: gradient

        return merge

    def gradients(self, index: int) -> Weights:
        return merge_shards(self.spec, self.gather(super().gradients(index)))

    def parameters(self) -> Weights:
        return merge_shards(self.spec, self.gather(super().parameters()))
