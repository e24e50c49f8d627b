"""Branches: the parts of a model that may be computed in shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

Tensors = Mapping[str, tf.Variable]
Branch = Callable[[Tensors, tf.Tensor], tf.Tensor]
Apply = Callable[[Branch, tf.Tensor], tf.Tensor]


def whole(weights: Tensors) -> Apply:
    """A branch on unsplit weights."""

    def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
        return branch(weights, x)

    return apply


def linear(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    """(batch, in) -> (batch, out), with bias."""
    return tf.nn.bias_add(tf.matmul(x, weights[f"{name}.weight"]), weights[f"{name}.bias"])
