"""MLP: a classifier of dense layers."""

from __future__ import annotations

from collections.abc import Callable, Generator

import tensorflow as tf

from adapters.tensorflow.models.branch import (
    Apply,
    Branch,
    Partial,
    Tensors,
    add_bias,
    linear,
    product,
)
from adapters.tensorflow.models.losses import Loss, binary_cross_entropy, cross_entropy
from suite.contract.workloads.mlp import MlpSpec

Activation = Callable[[tf.Tensor], tf.Tensor]


def forward(
    spec: MlpSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps (batch, in) to (batch, out): logits, or what the stage's last layer puts out."""
    activate = _activation(spec)
    layer = units.start
    while layer in units:
        if layer % 2 == 0 and layer + 1 in units:
            x, layer = apply(_pair(layer, activate), x), layer + 2
        else:
            x, layer = linear(weights, f"layer{layer}", x), layer + 1
        x = x if layer == spec.layers else activate(x)
    return x


def loss(spec: MlpSpec) -> Loss:
    """Returns the cross-entropy; the binary form if the model has a single output."""
    return binary_cross_entropy if spec.binary else cross_entropy


def _activation(spec: MlpSpec) -> Activation:
    """Returns the activation between the layers."""
    if spec.activation == "gelu":
        return lambda x: tf.nn.gelu(x, approximate=True)
    return tf.nn.relu


def _pair(layer: int, activate: Activation) -> Branch:
    """The branch of ``layer`` and ``layer + 1``, without the activation that follows them."""

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        hidden = activate(linear(weights, f"layer{layer}", x))
        last = f"layer{layer + 1}"
        yield product(weights, f"{last}.weight", hidden), add_bias(last)

    return branch
