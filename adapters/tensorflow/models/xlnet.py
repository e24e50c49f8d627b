"""XLNet (Yang et al. 2019): a two-stream transformer that predicts tokens in a random order.

Activations are ``(batch · 2 · sequence, width)``: batch, stream and position share an axis, so that
every product with weights is a plain matrix product.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache, partial

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import (
    SIDE_INPUT,
    Apply,
    Branch,
    Finish,
    Partial,
    Tensors,
    full,
    product,
)
from adapters.tensorflow.models.losses import Loss, predicted_cross_entropy
from adapters.tensorflow.models.transformer import (
    feed_forward,
    layer_norm,
    merge_heads,
    split_heads,
    token_logits,
)
from adapters.tensorflow.models.units import unit
from suite.contract.workloads.xlnet import LAYER_NORM_EPSILON, SEGMENTS, STREAMS, XLNetSpec


def forward(
    spec: XLNetSpec, weights: Tensors, x: tf.Tensor, units: range, apply: Apply
) -> tf.Tensor:
    """Maps tokens and order (batch, 2, sequence) to logits (batch · sequence, rows of the table).

    A stage that is not the first or the last takes or returns (batch, 2, sequence, width) instead.
    """
    if 0 in units:
        x = _embed(weights, x[:, 0])
    x = full(tf.reshape(x, (-1, spec.width)))
    for index in units:
        block = partial(_block, spec, weights, f"block{index}", apply)
        x = unit(block, x)
    if spec.blocks - 1 not in units:
        return tf.reshape(x, (-1, *spec.boundary(units.stop)))
    return token_logits(spec, weights, _stream(spec, x, STREAMS - 1))


def loss(spec: XLNetSpec) -> Loss:
    """Returns the cross-entropy over the predicted positions."""
    return predicted_cross_entropy(spec.predictions)


def _embed(weights: Tensors, tokens: tf.Tensor) -> tf.Tensor:
    """Embeds tokens (batch, sequence) as both streams, (batch, 2, sequence, width)."""
    content = tf.gather(weights["embed.token.table"], tokens)
    query = tf.broadcast_to(weights["embed.mask.table"], content.shape)
    return tf.stack([content, query], 1)


def _stream(spec: XLNetSpec, x: tf.Tensor, number: int) -> tf.Tensor:
    """Takes a stream out of (batch · 2 · sequence, width), as (batch · sequence, width)."""
    streams = tf.reshape(x, (-1, STREAMS, spec.sequence, spec.width))
    return tf.reshape(streams[:, number], (-1, spec.width))


def _block(spec: XLNetSpec, weights: Tensors, name: str, apply: Apply, x: tf.Tensor) -> tf.Tensor:
    """Computes norm(x + attention(x)), then norm(x + mlp(x)), for both streams."""
    mixed = full(apply(_attention(spec, f"{name}.attention"), x))
    x = layer_norm(weights, f"{name}.norm1", x + mixed, LAYER_NORM_EPSILON)
    inner = full(apply(feed_forward(name, tanh=False), x))
    return layer_norm(weights, f"{name}.norm2", x + inner, LAYER_NORM_EPSILON)


def _attention(spec: XLNetSpec, name: str) -> Branch:
    """The branch of attention: the queries of both streams, concatenated, on the content's keys."""
    head_width, tokens = spec.width // spec.heads, spec.sequence

    def heads(weights: Tensors, part: str, x: tf.Tensor, length: int) -> tf.Tensor:
        return split_heads(product(weights, f"{name}.{part}.weight", x), length, head_width)

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        encodings, same_half = _facts(spec, full(x).dtype, weights[f"{name}.query.weight"].device)
        content = _stream(spec, x, 0)
        query = heads(weights, "query", x, STREAMS * tokens)
        key, value = (heads(weights, part, content, tokens) for part in ("key", "value"))
        relative = heads(weights, "relative", encodings, 2 * tokens)
        segments = split_heads(weights[f"{name}.segment.table"], SEGMENTS, head_width)

        def scores(kind: str, keys: tf.Tensor) -> tf.Tensor:
            bias = tf.reshape(weights[f"{name}.{kind}.bias"], (-1, 1, head_width))
            scaled = (query + tf.cast(bias, query.dtype)) * head_width**-0.5
            return full(tf.matmul(scaled, tf.cast(keys, query.dtype), transpose_b=True))

        same, other = tf.split(scores("segment", segments), SEGMENTS, -1)
        total = scores("content", key) + _by_distance(scores("position", relative), tokens)
        total += tf.where(same_half, same, other) + _unseen(weights[SIDE_INPUT][:, 1], total.dtype)
        mixed = merge_heads(tf.matmul(tf.cast(tf.nn.softmax(total), value.dtype), value))
        yield product(weights, f"{name}.project.weight", mixed), _as_it_is

    return branch


# The output projection has no bias to add to the total.
_as_it_is: Finish = lambda weights, total: total  # noqa: E731


@lru_cache
def _facts(spec: XLNetSpec, dtype: tf.DType, device: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the constants that attention scores need.

    They are made outside of graphs, once per device; inside, every block and micro-batch would add
    a copy of them to the graph.

    Args:
        spec: The workload.
        dtype: Type of the encodings.
        device: Where the constants are placed.

    Returns:
        The encodings of all distances, (2 · sequence, width), and whether two positions are in the
        same half of the sequence, (2 · sequence, sequence).
    """
    half = np.arange(spec.sequence) >= spec.sequence // 2
    same = np.tile(half[:, None] == half, (STREAMS, 1))
    with tf.init_scope(), tf.device(device):
        return tf.constant(spec.encodings(), dtype), tf.constant(same)


def _unseen(order: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Makes the mask that is added to the scores, from the order (batch, sequence).

    It is (batch, 1, 2 · sequence, sequence): 0 where a position may look, minus infinity where not.
    """
    own, others = order[:, :, None], order[:, None, :]
    hidden = tf.concat([others > own, others >= tf.maximum(own, 1)], 1)
    never, always = tf.constant(-np.inf, dtype), tf.constant(0.0, dtype)
    return tf.where(hidden, never, always)[:, None]


def _by_distance(scores: tf.Tensor, tokens: int) -> tf.Tensor:
    """Reorders scores by encoding into scores by position.

    The score of position i on position j is at entry ``sequence - i + j`` of row i. Reading the
    same memory as rows that are an entry shorter shifts row i by i, so the scores line up without
    an index. ``tf.slice`` is used instead of indexing, because the gradient of indexing
    (StridedSliceGrad) takes thirty times as long.

    Args:
        scores: Scores on every encoding, (batch, heads, 2 · sequence, 2 · sequence).
        tokens: Tokens per sample.

    Returns:
        Scores on every position, (batch, heads, 2 · sequence, sequence).
    """
    batch, heads = scores.shape[:2]
    whole = tf.reshape(scores, (batch, heads, STREAMS, 2 * tokens**2))
    streams = tf.slice(whole, (0, 0, 0, tokens), (-1, -1, -1, -1))
    rows = tf.reshape(streams, (batch, heads, STREAMS * tokens, 2 * tokens - 1))
    return tf.slice(rows, (0, 0, 0, 0), (-1, -1, -1, tokens))
