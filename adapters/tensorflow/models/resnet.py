"""ResNet (He et al. 2016), with the stride on the 3x3 convolution."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

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
from adapters.tensorflow.models.units import unit
from suite.contract.workloads.images import Convolution
from suite.contract.workloads.resnet import BATCH_NORM_EPSILON, POOL_KERNEL, POOL_STRIDE, ResNetSpec

Layers = dict[str, Convolution]


def forward(
    spec: ResNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps images (batch, height, width, 3) to logits (batch, classes).

    A stage that is not the first or the last takes or returns activations in that axis order.
    """
    blocks = spec.convolutions()
    if 0 in units:
        x = tf.nn.relu(_normed(weights, "stem.", "conv", spec.stem(), x))
        # XLA pools without padding of its own. Zeros do as well, since none is below 0 after relu.
        x = tf.pad(x, padding(POOL_KERNEL // 2))
        x = tf.nn.max_pool2d(x, POOL_KERNEL, POOL_STRIDE, "VALID")
    for index in units:
        block = partial(_block, weights, f"block{index}.", blocks[index], apply)
        x = unit(block, x)
    if len(blocks) - 1 not in units:
        return x
    return linear(weights, "classifier", pixel_mean(x))


def loss(spec: ResNetSpec) -> Loss:
    """Returns the cross-entropy over the classes."""
    return cross_entropy


def _block(weights: Tensors, name: str, layers: Layers, apply: Apply, x: tf.Tensor) -> tf.Tensor:
    """Computes relu(x + convolutions(x)); x is projected if the block changes the shape."""
    shortcut = x
    if "downsample.conv" in layers:
        shortcut = _normed(weights, name, "downsample.conv", layers["downsample.conv"], x)
    if "conv3" in layers:
        x = tf.nn.relu(_normed(weights, name, "conv1", layers["conv1"], x))
        return tf.nn.relu(apply(_pair(name, "conv2", "conv3", layers), x) + shortcut)
    return tf.nn.relu(apply(_pair(name, "conv1", "conv2", layers), x) + shortcut)


def _pair(name: str, first: str, second: str, layers: Layers) -> Branch:
    """The branch of two convolutions, each followed by a normalisation, with relu in between."""

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        hidden = tf.nn.relu(_normed(weights, name, first, layers[first], x))
        normalise = normalised(name + second.replace("conv", "norm"), BATCH_NORM_EPSILON)
        yield convolution(weights, name + second, layers[second], hidden), normalise

    return branch


def _normed(
    weights: Tensors, name: str, layer: str, facts: Convolution, x: tf.Tensor
) -> tf.Tensor:
    """Computes a convolution and the normalisation that follows it."""
    x = convolution(weights, name + layer, facts, x)
    return batch_norm(weights, name + layer.replace("conv", "norm"), x, BATCH_NORM_EPSILON)
