"""The losses; each is a mean over the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from suite.contract.workloads.transformer import NOT_PREDICTED

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes the mean over logits (batch, 1) and targets (batch,) of 0 and 1."""
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(targets, logits.dtype), logits=tf.squeeze(logits, -1)
    )
    return tf.reduce_mean(losses)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes the mean over logits (rows, classes) and as many targets, of any shape."""
    labels = tf.reshape(targets, (-1,))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses)


def predicted_cross_entropy(predictions: int) -> Loss:
    """Makes the cross-entropy that averages over the predicted positions only.

    Args:
        predictions: Predicted positions in every sample.

    Returns:
        A function of logits (batch · sequence, vocabulary) and targets (batch, sequence), where
        ``NOT_PREDICTED`` marks the other positions.
    """

    def mean(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        labels = tf.reshape(targets, (-1,))
        predicted = tf.not_equal(labels, NOT_PREDICTED)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.maximum(labels, 0), logits=logits
        )
        counted = tf.where(predicted, losses, tf.zeros_like(losses))
        return tf.reduce_sum(counted) / (targets.shape[0] * predictions)

    return mean
