"""Dense classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Branch, Tensors, linear
from suite.spec.workloads import MlpSpec

Activation = Callable[[tf.Tensor], tf.Tensor]


def forward(
    spec: MlpSpec, weights: Tensors, x: tf.Tensor, units: Sequence[int] | None, apply: Apply
) -> tf.Tensor:
    """Activations between linear layers; (batch, in) -> (batch, out) logits."""
    activate = _activation(spec)
    chosen = list(range(spec.layers) if units is None else units)
    position = 0
    while position < len(chosen):
        layer = chosen[position]
        if layer % 2 == 0 and layer + 1 in chosen:
            x = tf.nn.bias_add(apply(_pair(layer, activate), x), weights[f"layer{layer + 1}.bias"])
            layer, position = layer + 1, position + 2
        else:
            x = linear(weights, f"layer{layer}", x)
            position += 1
        x = x if layer == spec.layers - 1 else activate(x)
    return x


def _activation(spec: MlpSpec) -> Activation:
    if spec.activation == "gelu":
        return lambda x: tf.nn.gelu(x, approximate=True)
    return tf.nn.relu


def _pair(layer: int, activate: Activation) -> Branch:
    """Layers ``layer`` and ``layer + 1`` without the second one's bias."""

    def branch(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        hidden = activate(linear(weights, f"layer{layer}", x))
        return tf.matmul(hidden, weights[f"layer{layer + 1}.weight"])

    return branch
