"""Decoder-only transformer, pre-norm (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Branch, Tensors, linear
from suite.spec.workloads import LAYER_NORM_EPSILON, GptSpec


def forward(
    spec: GptSpec, weights: Tensors, x: tf.Tensor, units: Sequence[int] | None, apply: Apply
) -> tf.Tensor:
    """Tokens (batch, sequence) -> logits (batch · sequence, vocabulary).

    Activations are ``(batch · sequence, width)``: every product is one plain matrix product.
    """
    chosen = range(spec.blocks) if units is None else units
    if 0 in chosen:
        x = _embed(spec, weights, x)
    for index in chosen:
        x = _block(spec, weights, f"block{index}", x, apply)
    if spec.blocks - 1 not in chosen:
        return x
    return tf.matmul(_norm(weights, "norm", x), weights["head.weight"])


def _embed(spec: GptSpec, weights: Tensors, tokens: tf.Tensor) -> tf.Tensor:
    embedded = tf.gather(weights["embed.token"], tokens) + weights["embed.position"]
    return tf.reshape(embedded, (-1, spec.width))


def _block(spec: GptSpec, weights: Tensors, name: str, x: tf.Tensor, apply: Apply) -> tf.Tensor:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    mixed = apply(_attention(spec, name), _norm(weights, f"{name}.norm1", x))
    x = x + tf.nn.bias_add(mixed, weights[f"{name}.project.bias"])
    hidden = apply(_feed_forward(name), _norm(weights, f"{name}.norm2", x))
    return x + tf.nn.bias_add(hidden, weights[f"{name}.contract.bias"])


def _attention(spec: GptSpec, name: str) -> Branch:
    """Causal self-attention without the projection's bias; as many heads as the weights hold."""
    head_width = spec.width // spec.heads
    mask = np.triu(np.full((spec.sequence, spec.sequence), -np.inf, np.float32), 1)

    def heads(weights: Tensors, part: str, x: tf.Tensor) -> tf.Tensor:
        flat = linear(weights, f"{name}.{part}", x)
        count = flat.shape[-1] // head_width
        return tf.transpose(tf.reshape(flat, (-1, spec.sequence, count, head_width)), (0, 2, 1, 3))

    def branch(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        query, key, value = (heads(weights, part, x) for part in ("query", "key", "value"))
        scores = tf.matmul(query * head_width**-0.5, key, transpose_b=True)
        shares = tf.nn.softmax(scores + tf.constant(mask, scores.dtype))
        mixed = tf.transpose(tf.matmul(shares, value), (0, 2, 1, 3))
        flat = tf.reshape(mixed, (-1, mixed.shape[2] * head_width))
        return tf.matmul(flat, weights[f"{name}.project.weight"])

    return branch


def _feed_forward(name: str) -> Branch:
    """Expand, gelu, contract without its bias."""

    def branch(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.gelu(linear(weights, f"{name}.expand", x), approximate=True)
        return tf.matmul(hidden, weights[f"{name}.contract.weight"])

    return branch


def _norm(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, weights[f"{name}.bias"], weights[f"{name}.scale"], LAYER_NORM_EPSILON
    )
