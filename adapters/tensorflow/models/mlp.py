"""Dense classifier."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Branch, Tensors, linear
from suite.spec.workloads import MlpSpec


def forward(
    spec: MlpSpec, weights: Tensors, x: tf.Tensor, units: Sequence[int] | None, apply: Apply
) -> tf.Tensor:
    """relu between linear layers; (batch, in) -> (batch, out) logits."""
    chosen = list(range(spec.layers) if units is None else units)
    position = 0
    while position < len(chosen):
        layer = chosen[position]
        if layer % 2 == 0 and layer + 1 in chosen:
            x = tf.nn.bias_add(apply(_pair(layer), x), weights[f"layer{layer + 1}.bias"])
            layer, position = layer + 1, position + 2
        else:
            x = linear(weights, f"layer{layer}", x)
            position += 1
        x = x if layer == spec.layers - 1 else tf.nn.relu(x)
    return x


def _pair(layer: int) -> Branch:
    """Layers ``layer`` and ``layer + 1`` without the second one's bias."""

    def branch(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.relu(linear(weights, f"layer{layer}", x))
        return tf.matmul(hidden, weights[f"layer{layer + 1}.weight"])

    return branch
