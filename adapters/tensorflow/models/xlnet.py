"""Two-stream transformer that predicts tokens in a random order (Yang et al. 2019).

Rows of activations are ``(batch, stream, position)``: one axis in every product with a matrix.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import SIDE_INPUT, Apply, Branch, Finish, Partial, Tensors
from adapters.tensorflow.models.losses import Loss, predicted_cross_entropy
from adapters.tensorflow.models.transformer import (
    feed_forward,
    layer_norm,
    merge_heads,
    split_heads,
)
from suite.contract.workloads.xlnet import LAYER_NORM_EPSILON, SEGMENTS, STREAMS, XLNetSpec


def forward(
    spec: XLNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Tokens and order (batch, 2, sequence) -> logits (batch · sequence, vocabulary)."""
    if 0 in units:
        x = _embed(weights, x[:, 0])
    x = tf.reshape(x, (-1, spec.width))
    for index in units:
        x = _block(spec, weights, f"block{index}", x, apply)
    if spec.blocks - 1 not in units:
        return tf.reshape(x, (-1, *spec.boundary(units.stop)))
    query = _stream(spec, x, STREAMS - 1)
    logits = tf.matmul(query, weights["embed.token.table"], transpose_b=True)
    return tf.nn.bias_add(logits, weights["head.bias"])


def loss(spec: XLNetSpec) -> Loss:
    """Cross-entropy at predicted positions."""
    return predicted_cross_entropy(spec.predictions)


def _embed(weights: Tensors, tokens: tf.Tensor) -> tf.Tensor:
    """(batch, sequence) -> (batch, 2, sequence, width)."""
    content = tf.gather(weights["embed.token.table"], tokens)
    query = tf.broadcast_to(weights["embed.mask.table"], content.shape)
    return tf.stack([content, query], 1)


def _stream(spec: XLNetSpec, x: tf.Tensor, number: int) -> tf.Tensor:
    """(batch · 2 · sequence, width) -> (batch · sequence, width)."""
    streams = tf.reshape(x, (-1, STREAMS, spec.sequence, spec.width))
    return tf.reshape(streams[:, number], (-1, spec.width))


def _block(spec: XLNetSpec, weights: Tensors, name: str, x: tf.Tensor, apply: Apply) -> tf.Tensor:
    """norm(x + attention(x)), then norm(x + mlp(x)), of both streams."""
    mixed = apply(_attention(spec, f"{name}.attention"), x)
    x = layer_norm(weights, f"{name}.norm1", x + mixed, LAYER_NORM_EPSILON)
    inner = apply(feed_forward(name, tanh=False), x)
    return layer_norm(weights, f"{name}.norm2", x + inner, LAYER_NORM_EPSILON)


def _attention(spec: XLNetSpec, name: str) -> Branch:
    """Both streams' queries, one behind the other, on the content's keys."""
    head_width, tokens = spec.width // spec.heads, spec.sequence

    def heads(weights: Tensors, part: str, x: tf.Tensor, length: int) -> tf.Tensor:
        return split_heads(tf.matmul(x, weights[f"{name}.{part}.weight"]), length, head_width)

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        encodings, same_half = _facts(spec, x.dtype, weights[f"{name}.query.weight"].device)
        content = _stream(spec, x, 0)
        query = heads(weights, "query", x, STREAMS * tokens)
        key, value = (heads(weights, part, content, tokens) for part in ("key", "value"))
        near = heads(weights, "relative", encodings, 2 * tokens)
        segments = split_heads(weights[f"{name}.segment.table"], SEGMENTS, head_width)

        def scores(kind: str, keys: tf.Tensor) -> tf.Tensor:
            bias = tf.reshape(weights[f"{name}.{kind}.bias"], (-1, 1, head_width))
            return tf.matmul((query + bias) * head_width**-0.5, keys, transpose_b=True)

        same, other = tf.split(scores("segment", segments), SEGMENTS, -1)
        total = scores("content", key) + _by_distance(scores("position", near), tokens)
        total += tf.where(same_half, same, other) + _unseen(weights[SIDE_INPUT][:, 1], x.dtype)
        mixed = merge_heads(tf.matmul(tf.nn.softmax(total), value))
        yield tf.matmul(mixed, weights[f"{name}.project.weight"]), _as_it_is

    return branch


_as_it_is: Finish = lambda weights, total: total  # noqa: E731


@lru_cache
def _facts(spec: XLNetSpec, dtype: tf.DType, device: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Encodings (2 · sequence, width), and whether both positions are in the same half.

    Made outside of graphs, once a device: a graph would hold them for every block and micro-batch.
    """
    half = np.arange(spec.sequence) >= spec.sequence // 2
    same = np.tile(half[:, None] == half, (STREAMS, 1))
    with tf.init_scope(), tf.device(device):
        return tf.constant(spec.encodings(), dtype), tf.constant(same)


def _unseen(order: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """(batch, sequence) -> (batch, 1, 2 · sequence, sequence): minus infinity where not seen."""
    mine, others = order[:, :, None], order[:, None, :]
    hidden = tf.concat([others > mine, others >= tf.maximum(mine, 1)], 1)
    never, always = tf.constant(-np.inf, dtype), tf.constant(0.0, dtype)
    return tf.where(hidden, never, always)[:, None]


def _by_distance(scores: tf.Tensor, tokens: int) -> tf.Tensor:
    """(…, 2 · sequence, row) -> (…, 2 · sequence, j): at position i row ``sequence - i + j``.

    In memory that is rows of one entry less. An index's gradient, StridedSliceGrad, takes thirty
    times as long as a slice's.
    """
    batch, heads = scores.shape[:2]
    whole = tf.reshape(scores, (batch, heads, STREAMS, 2 * tokens**2))
    streams = tf.slice(whole, (0, 0, 0, tokens), (-1, -1, -1, -1))
    rows = tf.reshape(streams, (batch, heads, STREAMS * tokens, 2 * tokens - 1))
    return tf.slice(rows, (0, 0, 0, 0), (-1, -1, -1, tokens))
