"""Intra-layer: branches on this rank's shards between two custom-gradient collectives."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.horovod.training.common import my_shard
from adapters.tensorflow.models.branch import Apply, Branch, Share, Tensors, held, sums
from suite.contract.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> Tensors:
        """Builds what this rank holds of the model."""
        shards = self.case.axes.size("intra_layer")
        part = {
            name: my_shard(self.spec, name, array, self.position("intra_layer"), shards)
            for name, array in weights.items()
        }
        return super().build(part)

    def applied(self, variables: Tensors, features: tf.Tensor, part: int) -> Apply:
        # The branches that a stage has, with their numbers in the model.
        plans = iter([
            (number, plan) for number, plan in enumerate(self.spec.branches())
            if f"{plan.row}.weight" in variables
        ])
        weights = held(self.spec, variables, features)

        def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
            number, plan = next(plans)
            share = Share(branch, weights)
            for turn in range(sums(plan)):
                # A micro-batch's collectives are its own; the first's have the plain name.
                name = f"{number}.{turn}.{part}" if part else f"{number}.{turn}"
                partial, finish = share.advance(self._enter(f"enter.{name}")(x))
                x = finish(weights, self._merge(f"merge.{name}")(partial))
            return x

        return apply

    def _enter(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Identity forward, sum of the ranks' gradients backward ("f" of Shoeybi et al. 2019)."""

        @tf.custom_gradient
        def enter(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return tf.identity(x), lambda gradient: self.sum(gradient, name, "intra_layer")

        return enter

    def _merge(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Sum of the ranks' parts forward, identity backward ("g" of Shoeybi et al. 2019).

        Not ``hvd.allreduce``'s own gradient: it sums again, and every rank holds the whole one.
        """

        @tf.custom_gradient
        def merge(part: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return self.sum(part, name, "intra_layer"), lambda gradient: gradient

        return merge
