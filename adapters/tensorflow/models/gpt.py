"""GPT-2 (Radford et al. 2019): a pre-norm decoder-only transformer."""

from __future__ import annotations

from functools import partial

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Tensors, full
from adapters.tensorflow.models.losses import Loss, cross_entropy
from adapters.tensorflow.models.transformer import (
    attention,
    feed_forward,
    layer_norm,
    token_logits,
)
from adapters.tensorflow.models.units import unit
from suite.contract.workloads.gpt import LAYER_NORM_EPSILON, GptSpec


def forward(
    spec: GptSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps tokens (batch, sequence) to logits (batch · sequence, rows of the token table).

    A stage that is not the first or the last takes or returns (batch, sequence, width) instead.
    """
    if 0 in units:
        x = tf.gather(weights["embed.token.table"], x) + weights["embed.position.table"]
    x = full(tf.reshape(x, (-1, spec.width)))
    for index in units:
        block = partial(_block, spec, weights, f"block{index}", apply)
        x = unit(block, x)
    if spec.blocks - 1 not in units:
        return tf.reshape(x, (-1, spec.sequence, spec.width))
    normed = layer_norm(weights, "norm", x, LAYER_NORM_EPSILON)
    return token_logits(spec, weights, normed)


def loss(spec: GptSpec) -> Loss:
    """Returns the cross-entropy over all tokens."""
    return cross_entropy


def _block(spec: GptSpec, weights: Tensors, name: str, apply: Apply, x: tf.Tensor) -> tf.Tensor:
    """Computes x + attention(norm(x)), then x + mlp(norm(x)) of x (batch · sequence, width)."""
    heads = attention(f"{name}.attention", spec.sequence, spec.width // spec.heads, causal=True)
    x = x + full(apply(heads, layer_norm(weights, f"{name}.norm1", x, LAYER_NORM_EPSILON)))
    inner = feed_forward(name, tanh=True)
    return x + full(apply(inner, layer_norm(weights, f"{name}.norm2", x, LAYER_NORM_EPSILON)))
