"""Losses, each a mean over the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from suite.contract.workloads.transformer import NOT_PREDICTED

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Logits (batch, 1), targets (batch,) of 0 and 1."""
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(targets, logits.dtype), logits=tf.squeeze(logits, -1)
    )
    return tf.reduce_mean(losses)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Logits (rows, classes); targets of any shape with as many entries as rows."""
    labels = tf.reshape(targets, (-1,))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses)


def predicted_cross_entropy(predictions: int) -> Loss:
    """Mean over the positions that are predicted, of which every sample has ``predictions``."""

    def mean(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        labels = tf.reshape(targets, (-1,))
        predicted = tf.not_equal(labels, NOT_PREDICTED)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.maximum(labels, 0), logits=logits
        )
        counted = tf.where(predicted, losses, tf.zeros_like(losses))
        return tf.reduce_sum(counted) / (targets.shape[0] * predictions)

    return mean
