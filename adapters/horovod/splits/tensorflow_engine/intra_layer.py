"""Intra-layer: each rank computes branches with its shards, between two collectives."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.horovod.training.common import my_shard
from adapters.tensorflow.models.branch import Apply, Branch, Share, Tensors, held, sums
from suite.contract.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch with its shard of the columns.

    Every rank also computes the parts of the model that are not split.
    """

    def build(self, weights: Weights) -> Tensors:
        """Builds this rank's shard of the model from the whole initial weights."""
        shards = self.case.axes.size("intra_layer")
        part = {
            name: my_shard(self.spec, name, array, self.position("intra_layer"), shards)
            for name, array in weights.items()
        }
        return super().build(part)

    def applied(self, variables: Tensors, features: tf.Tensor, part: int) -> Apply:
        """Returns how the branches in these variables are computed on a micro-batch.

        Args:
            Variables: The variables of a stage by canonical name.
            features: The features of the micro-batch.
            part: The number of the micro-batch, which makes the names of its collectives unique.
        """
        # A pipeline's stage has only some of the branches; each keeps its number in the model.
        plans = iter([
            (number, plan) for number, plan in enumerate(self.spec.branches())
            if f"{plan.row}.weight" in variables
        ])
        weights = held(self.spec, variables, features)

        def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
            number, plan = next(plans)
            share = Share(branch, weights)
            for turn in range(sums(plan)):
                # Each micro-batch has its own collectives; those of the first have the plain name.
                name = f"{number}.{turn}.{part}" if part else f"{number}.{turn}"
                partial, finish = share.advance(self._enter(f"enter.{name}")(x))
                x = finish(weights, self._merge(f"merge.{name}")(partial))
            return x

        return apply

    def _enter(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the identity whose backward pass sums gradients over the ranks.

        This is "f" of Shoeybi et al. 2019 (Megatron-LM).
        """

        @tf.custom_gradient
        def enter(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return tf.identity(x), lambda gradient: self.sum(gradient, name, "intra_layer")

        return enter

    def _merge(self, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the sum over the ranks whose backward pass is the identity.

        This is "g" of Shoeybi et al. 2019 (Megatron-LM). ``hvd.allreduce`` cannot be used as it is,
        because its own gradient sums again, although every rank already has the whole gradient.
        """

        @tf.custom_gradient
        def merge(part: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return self.sum(part, name, "intra_layer"), lambda gradient: gradient

        return merge
