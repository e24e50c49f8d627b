"""EfficientNet (Tan & Le 2019): inverted bottlenecks with squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Generator

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Branch, Partial, Tensors, linear, whole
from adapters.tensorflow.models.images import batch_norm, convolution, normalised, pixel_mean
from adapters.tensorflow.models.losses import Loss, cross_entropy
from suite.contract.workloads.efficientnet import (
    BATCH_NORM_EPSILON,
    EfficientNetSpec,
    InvertedBottleneck,
)
from suite.contract.workloads.images import Convolution


def forward(
    spec: EfficientNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """(batch, height, width, 3) -> (batch, classes) logits."""
    blocks = spec.blocks()
    if 0 in units:
        x = _activated(weights, "stem.conv", "stem.norm", spec.stem(), x)
    for index in units:
        facts = blocks[index]
        # The plan splits widening blocks alone.
        drive = apply if facts.expand else whole(weights)
        inside = drive(_branch(f"block{index}", facts), x)
        x = x + inside if facts.residual else inside
    if len(blocks) - 1 not in units:
        return x
    x = _activated(weights, "head.conv", "head.norm", spec.head(), x)
    return linear(weights, "classifier", pixel_mean(x))


def loss(spec: EfficientNetSpec) -> Loss:
    """Cross-entropy."""
    return cross_entropy


def _branch(name: str, facts: InvertedBottleneck) -> Branch:
    """Widen, filter each channel, scale it by a gate of all channels' means, narrow."""
    squeeze = f"{name}.squeeze"

    def squeezed(weights: Tensors, total: tf.Tensor) -> tf.Tensor:
        return tf.nn.silu(tf.nn.bias_add(total, weights[f"{squeeze}.reduce.bias"]))

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        if facts.expand:
            x = _activated(weights, f"{name}.expand", f"{name}.norm1", facts.expand, x)
        x = _activated(weights, f"{name}.spatial", f"{name}.norm2", facts.spatial, x)
        means = yield tf.matmul(pixel_mean(x), weights[f"{squeeze}.reduce.weight"]), squeezed
        gate = tf.sigmoid(linear(weights, f"{squeeze}.expand", means))
        x = x * gate[:, None, None, :]
        behind = normalised(f"{name}.norm3", BATCH_NORM_EPSILON)
        yield convolution(weights, f"{name}.project", facts.project, x), behind

    return branch


def _activated(
    weights: Tensors, name: str, norm: str, facts: Convolution, x: tf.Tensor
) -> tf.Tensor:
    """A convolution, the normalisation behind it, silu."""
    x = convolution(weights, name, facts, x)
    return tf.nn.silu(batch_norm(weights, norm, x, BATCH_NORM_EPSILON))
