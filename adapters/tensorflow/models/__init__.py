"""The workloads written natively in TensorFlow: functions of a mapping of weights.

A *branch* is a pair of layers whose partial results add up when the first is split by columns and
the second by rows. Models hand branches to ``apply``; who splits them replaces it, and the models
know nothing of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from adapters.tensorflow.models import gpt, mlp
from adapters.tensorflow.models.branch import Apply, Tensors, whole
from suite.spec.workloads import MlpSpec, Workload

__all__ = ["Apply", "Tensors", "forward", "loss_function", "whole"]


def forward(
    spec: Workload,
    weights: Tensors,
    x: tf.Tensor,
    units: Sequence[int] | None = None,
    apply: Apply | None = None,
) -> tf.Tensor:
    """Logits of a batch; ``units`` computes a contiguous part of the layers, a pipeline's stage."""
    chosen = apply or whole(weights)
    if isinstance(spec, MlpSpec):
        return mlp.forward(spec, weights, x, units, chosen)
    return gpt.forward(spec, weights, x, units, chosen)


def loss_function(spec: Workload) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Mean loss over samples (and tokens) of targets against logits."""
    if isinstance(spec, MlpSpec) and spec.binary:
        return _binary
    return _cross_entropy


def _binary(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(targets, logits.dtype), logits=tf.squeeze(logits, -1)
    )
    return tf.reduce_mean(losses)


def _cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    labels = tf.reshape(targets, (-1,))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses)


def dense_gradients(
    gradients: Mapping[str, tf.Tensor | tf.IndexedSlices],
) -> dict[str, tf.Tensor]:
    """Embedding gradients come as slices; the written optimiser updates every row."""
    return {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
