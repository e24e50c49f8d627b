"""Residual networks (He et al. 2016), the stride on the 3x3 convolution."""

from __future__ import annotations

from collections.abc import Generator

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Branch, Partial, Tensors, linear
from adapters.tensorflow.models.images import (
    batch_norm,
    convolution,
    normalised,
    padding,
    pixel_mean,
)
from adapters.tensorflow.models.losses import Loss, cross_entropy
from suite.contract.workloads.images import Convolution
from suite.contract.workloads.resnet import BATCH_NORM_EPSILON, POOL_KERNEL, POOL_STRIDE, ResNetSpec

Layers = dict[str, Convolution]


def forward(
    spec: ResNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """(batch, height, width, 3) -> (batch, classes) logits."""
    blocks = spec.convolutions()
    if 0 in units:
        x = tf.nn.relu(_normed(weights, "stem.", "conv", spec.stem(), x))
        x = tf.nn.max_pool2d(x, POOL_KERNEL, POOL_STRIDE, padding(POOL_KERNEL // 2))
    for index in units:
        x = _block(weights, f"block{index}.", blocks[index], x, apply)
    if len(blocks) - 1 not in units:
        return x
    return linear(weights, "classifier", pixel_mean(x))


def loss(spec: ResNetSpec) -> Loss:
    """Cross-entropy."""
    return cross_entropy


def _block(weights: Tensors, name: str, layers: Layers, x: tf.Tensor, apply: Apply) -> tf.Tensor:
    """relu(x + convolutions(x)); what enters is projected where the shape changes."""
    around = x
    if "downsample.conv" in layers:
        around = _normed(weights, name, "downsample.conv", layers["downsample.conv"], x)
    if "conv3" in layers:
        x = tf.nn.relu(_normed(weights, name, "conv1", layers["conv1"], x))
        return tf.nn.relu(apply(_pair(name, "conv2", "conv3", layers), x) + around)
    return tf.nn.relu(apply(_pair(name, "conv1", "conv2", layers), x) + around)


def _pair(name: str, first: str, second: str, layers: Layers) -> Branch:
    """Two convolutions, a normalisation behind each and relu between them."""

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        hidden = tf.nn.relu(_normed(weights, name, first, layers[first], x))
        behind = normalised(name + second.replace("conv", "norm"), BATCH_NORM_EPSILON)
        yield convolution(weights, name + second, layers[second], hidden), behind

    return branch


def _normed(
    weights: Tensors, name: str, layer: str, facts: Convolution, x: tf.Tensor
) -> tf.Tensor:
    """A convolution and the normalisation behind it."""
    x = convolution(weights, name + layer, facts, x)
    return batch_norm(weights, name + layer.replace("conv", "norm"), x, BATCH_NORM_EPSILON)
