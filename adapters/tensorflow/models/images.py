"""Layers that the image models share; activations are ``(batch, height, width, channels)``."""

from __future__ import annotations

import tensorflow as tf

from adapters.tensorflow.models.branch import Finish, Tensors, full, matrix
from suite.contract.workloads.images import Convolution


def convolution(weights: Tensors, name: str, facts: Convolution, x: tf.Tensor) -> tf.Tensor:
    """Computes a convolution of the workload, without bias.

    Args:
        weights: Canonical name to variable; a sharded kernel has fewer channels than ``facts``.
        name: Canonical name of the convolution.
        facts: Its stride, padding and kind.
        x: (batch, height, width, in).

    Returns:
        (batch, height, width, out).
    """
    # With a stride, TensorFlow's "SAME" may pad more after the image than before it, while the
    # workload asks for the same padding on every side.
    around = "SAME" if facts.stride == 1 else padding(facts.padding)
    if facts.depthwise:
        strides = (1, facts.stride, facts.stride, 1)
        kernel = matrix(weights, f"{name}.depthwise")
        return tf.nn.depthwise_conv2d(tf.cast(x, kernel.dtype), kernel, strides, around)
    if facts.stride > 1:  # pad first, as Keras's ResNet: oneDNN has no explicit padding
        x, around = tf.pad(x, around) if facts.padding else x, "VALID"
    kernel = matrix(weights, f"{name}.weight")
    return tf.nn.conv2d(tf.cast(x, kernel.dtype), kernel, facts.stride, around)


def padding(pixels: int) -> list[list[int]]:
    """Returns the padding of each axis of a batch of images: the same on all sides of an image."""
    return [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]


def batch_norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises by the statistics of this batch; there are no running averages.

    Args:
        weights: Canonical name to variable.
        name: Canonical name of the normalisation.
        x: (batch, height, width, channels).
        epsilon: Added to the variance.

    Returns:
        The same shape as ``x``.
    """
    scale, bias = weights[f"{name}.scale"], weights[f"{name}.bias"]
    if x.dtype == tf.float64:  # the reference: the fused kernel has no float64
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        return tf.nn.batch_normalization(x, mean, variance, bias, scale, epsilon)
    # The kernel is called directly: tf.compat.v1's function around it raises an epsilon of 1e-5.
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=bias, mean=(), variance=(), epsilon=epsilon, is_training=True
    ).y


def normalised(name: str, epsilon: float) -> Finish:
    """Makes the function that normalises the total of a convolution split along its inputs."""
    return lambda weights, total: batch_norm(weights, name, total, epsilon)


def pixel_mean(x: tf.Tensor) -> tf.Tensor:
    """Averages over the pixels: (batch, height, width, channels) to (batch, channels)."""
    return tf.reduce_mean(full(x), (1, 2))
