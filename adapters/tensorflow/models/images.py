"""What models of images share; activations are ``(batch, height, width, channels)``."""

from __future__ import annotations

import tensorflow as tf

from adapters.tensorflow.models.branch import Finish, Tensors
from suite.contract.workloads.images import Convolution


def convolution(weights: Tensors, name: str, facts: Convolution, x: tf.Tensor) -> tf.Tensor:
    """A kernel of the spec; as many channels as the weights hold."""
    # TensorFlow's own padding puts the odd pixel behind, the spec's is the same on every side.
    around = "SAME" if facts.stride == 1 else padding(facts.padding)
    if facts.depthwise:
        strides = (1, facts.stride, facts.stride, 1)
        return tf.nn.depthwise_conv2d(x, weights[f"{name}.depthwise"], strides, around)
    if facts.stride > 1:  # as Keras's ResNet does: oneDNN takes no explicit padding
        x, around = tf.pad(x, around) if facts.padding else x, "VALID"
    return tf.nn.conv2d(x, weights[f"{name}.weight"], facts.stride, around)


def padding(pixels: int) -> list[list[int]]:
    """The same on every side of an image."""
    return [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]


def batch_norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Statistics of the batch at hand; no averages are kept, as nothing is evaluated."""
    scale, bias = weights[f"{name}.scale"], weights[f"{name}.bias"]
    if x.dtype == tf.float64:  # the reference's; the fused kernel has no such type
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        return tf.nn.batch_normalization(x, mean, variance, bias, scale, epsilon)
    # Not tf.compat.v1's function around it, which raises an epsilon of 1e-5.
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=bias, mean=(), variance=(), epsilon=epsilon, is_training=True
    ).y


def normalised(name: str, epsilon: float) -> Finish:
    """Of a total: the normalisation behind the convolution that was split along its inputs."""
    return lambda weights, total: batch_norm(weights, name, total, epsilon)


def pixel_mean(x: tf.Tensor) -> tf.Tensor:
    """(batch, height, width, channels) -> (batch, channels)."""
    return tf.reduce_mean(x, (1, 2))
