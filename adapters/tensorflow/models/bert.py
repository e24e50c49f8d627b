"""BERT (Devlin et al. 2019): a post-norm transformer that predicts masked tokens."""

from __future__ import annotations

from functools import partial

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Tensors, full, linear
from adapters.tensorflow.models.losses import Loss, predicted_cross_entropy
from adapters.tensorflow.models.transformer import (
    attention,
    feed_forward,
    layer_norm,
    token_logits,
)
from adapters.tensorflow.models.units import unit
from suite.contract.workloads.bert import LAYER_NORM_EPSILON, BertSpec


def forward(
    spec: BertSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps tokens (batch, sequence) to logits (batch · sequence, rows of the token table).

    A stage that is not the first or the last takes or returns (batch, sequence, width) instead.
    """
    if 0 in units:
        x = _embed(weights, x)
    x = full(tf.reshape(x, (-1, spec.width)))
    for index in units:
        block = partial(_block, spec, weights, f"block{index}", apply)
        x = unit(block, x)
    if spec.blocks - 1 not in units:
        return tf.reshape(x, (-1, spec.sequence, spec.width))
    return _head(spec, weights, x)


def loss(spec: BertSpec) -> Loss:
    """Returns the cross-entropy over the predicted positions."""
    return predicted_cross_entropy(spec.predictions)


def _embed(weights: Tensors, tokens: tf.Tensor) -> tf.Tensor:
    """Embeds tokens (batch, sequence) as (batch, sequence, width); all are in segment 0."""
    places = weights["embed.position.table"] + weights["embed.segment.table"][0]
    x = tf.gather(weights["embed.token.table"], tokens) + places
    return layer_norm(weights, "embed.norm", x, LAYER_NORM_EPSILON)


def _block(spec: BertSpec, weights: Tensors, name: str, apply: Apply, x: tf.Tensor) -> tf.Tensor:
    """Computes norm(x + attention(x)), then norm(x + mlp(x)) of x (batch · sequence, width)."""
    heads = attention(f"{name}.attention", spec.sequence, spec.width // spec.heads, causal=False)
    x = layer_norm(weights, f"{name}.norm1", x + full(apply(heads, x)), LAYER_NORM_EPSILON)
    inner = full(apply(feed_forward(name, tanh=False), x))
    return layer_norm(weights, f"{name}.norm2", x + inner, LAYER_NORM_EPSILON)


def _head(spec: BertSpec, weights: Tensors, x: tf.Tensor) -> tf.Tensor:
    """Turns (batch · sequence, width) into logits: dense, gelu, norm, product with the table."""
    hidden = tf.nn.gelu(linear(weights, "head.dense", x), approximate=False)
    normed = layer_norm(weights, "head.norm", hidden, LAYER_NORM_EPSILON)
    return token_logits(spec, weights, normed)
