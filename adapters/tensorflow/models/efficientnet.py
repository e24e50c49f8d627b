"""EfficientNet (Tan & Le 2019): inverted bottlenecks with squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import tensorflow as tf

from adapters.tensorflow.models.branch import (
    Apply,
    Branch,
    Partial,
    Tensors,
    add_bias,
    linear,
    product,
    whole,
)
from adapters.tensorflow.models.images import batch_norm, convolution, normalised, pixel_mean
from adapters.tensorflow.models.losses import Loss, cross_entropy
from adapters.tensorflow.models.units import unit
from suite.contract.workloads.efficientnet import (
    BATCH_NORM_EPSILON,
    EfficientNetSpec,
    InvertedBottleneck,
)
from suite.contract.workloads.images import Convolution


def forward(
    spec: EfficientNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps images (batch, height, width, 3) to logits (batch, classes).

    A stage that is not the first or the last takes or returns activations in that axis order.
    """
    blocks = spec.blocks()
    if 0 in units:
        x = _activated(weights, "stem.conv", "stem.norm", spec.stem(), x)
    for index in units:
        facts = blocks[index]
        # Only blocks that widen are branches of the plan; every device computes the others whole.
        compute = apply if facts.expand else whole(weights)
        x = unit(partial(_block, f"block{index}", facts, compute), x)
    if len(blocks) - 1 not in units:
        return x
    x = _activated(weights, "head.conv", "head.norm", spec.head(), x)
    return linear(weights, "classifier", pixel_mean(x))


def loss(spec: EfficientNetSpec) -> Loss:
    """Returns the cross-entropy over the classes."""
    return cross_entropy


def _block(name: str, facts: InvertedBottleneck, apply: Apply, x: tf.Tensor) -> tf.Tensor:
    """Computes the block, and adds its input to it where the shapes are the same."""
    inside = apply(_branch(name, facts), x)
    return x + inside if facts.residual else inside


def _branch(name: str, facts: InvertedBottleneck) -> Branch:
    """An inverted bottleneck: widen, depthwise convolution, squeeze-and-excitation, narrow."""
    squeeze = f"{name}.squeeze"

    def activate(weights: Tensors, total: tf.Tensor) -> tf.Tensor:
        return tf.nn.silu(add_bias(f"{squeeze}.reduce")(weights, total))

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        if facts.expand:
            x = _activated(weights, f"{name}.expand", f"{name}.norm1", facts.expand, x)
        x = _activated(weights, f"{name}.spatial", f"{name}.norm2", facts.spatial, x)
        means = yield product(weights, f"{squeeze}.reduce.weight", pixel_mean(x)), activate
        gate = tf.sigmoid(linear(weights, f"{squeeze}.expand", means))
        x = x * gate[:, None, None, :]
        normalise = normalised(f"{name}.norm3", BATCH_NORM_EPSILON)
        yield convolution(weights, f"{name}.project", facts.project, x), normalise

    return branch


def _activated(
    weights: Tensors, name: str, norm: str, facts: Convolution, x: tf.Tensor
) -> tf.Tensor:
    """Computes a convolution, the normalisation that follows it, and silu."""
    x = convolution(weights, name, facts, x)
    return tf.nn.silu(batch_norm(weights, norm, x, BATCH_NORM_EPSILON))
