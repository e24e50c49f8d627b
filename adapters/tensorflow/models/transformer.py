"""Layers that the transformers share; activations are ``(batch · sequence, width)``.

With batch and sequence in the same axis every product with weights is a plain matrix product.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import (
    Branch,
    Partial,
    Tensors,
    add_bias,
    full,
    linear,
    matrix,
    product,
)
from suite.contract.workloads.transformer import Transformer


def attention(name: str, sequence: int, head_width: int, causal: bool) -> Branch:
    """Makes the branch of multi-head scaled dot-product attention (Vaswani et al. 2017).

    Args:
        name: Canonical name of the attention part.
        sequence: Tokens per sample.
        head_width: Width of a head. The number of heads follows from the weights, as a shard has
            only some of them.
        causal: Whether a position sees only itself and the positions before it.

    Returns:
        The branch; its input and its total are (batch · sequence, width).
    """
    mask = causal_mask(sequence) if causal else None

    def heads(weights: Tensors, part: str, x: tf.Tensor) -> tf.Tensor:
        return split_heads(linear(weights, f"{name}.{part}", x), sequence, head_width)

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        query, key, value = (heads(weights, part, x) for part in ("query", "key", "value"))
        mixed = merge_heads(attend(query, key, value, mask))
        yield product(weights, f"{name}.project.weight", mixed), add_bias(f"{name}.project")

    return branch


def causal_mask(sequence: int) -> np.ndarray:
    """What is added to scores so that a position sees only itself and the positions before it."""
    return np.triu(np.full((sequence, sequence), -np.inf, np.float32), 1)


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: np.ndarray | None
) -> tf.Tensor:
    """Mixes values by softmax(query · key / sqrt(head width)).

    Args:
        query: (batch, heads, sequence, head width), as are key, value and the result.
        key: What queries are compared with.
        value: What is mixed.
        mask: Added to the scores, (sequence, sequence); None for no mask.

    Returns:
        The mixed values.
    """
    scores = full(tf.matmul(query * query.shape[-1] ** -0.5, key, transpose_b=True))
    shares = tf.nn.softmax(scores if mask is None else scores + tf.constant(mask, scores.dtype))
    return tf.matmul(tf.cast(shares, value.dtype), value)


def split_heads(flat: tf.Tensor, sequence: int, head_width: int) -> tf.Tensor:
    """Turns (batch · sequence, heads · head width) into (batch, heads, sequence, head width)."""
    count = flat.shape[-1] // head_width
    return tf.transpose(tf.reshape(flat, (-1, sequence, count, head_width)), (0, 2, 1, 3))


def merge_heads(mixed: tf.Tensor) -> tf.Tensor:
    """Turns (batch, heads, sequence, head width) into (batch · sequence, heads · head width)."""
    _, heads, _, head_width = mixed.shape
    return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, heads * head_width))


def feed_forward(name: str, tanh: bool) -> Branch:
    """Makes the branch of a feed-forward part: expand, gelu, contract.

    Args:
        name: Canonical name of the block.
        tanh: Whether gelu is the tanh approximation; otherwise it uses the error function.

    Returns:
        The branch; its input and its total are (batch · sequence, width).
    """

    def branch(weights: Tensors, x: tf.Tensor) -> Generator[Partial, tf.Tensor, None]:
        hidden = tf.nn.gelu(linear(weights, f"{name}.expand", x), approximate=tanh)
        yield product(weights, f"{name}.contract.weight", hidden), add_bias(f"{name}.contract")

    return branch


def layer_norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises over the last axis, never in less than float32."""
    x = full(x)
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, weights[f"{name}.bias"], weights[f"{name}.scale"], epsilon
    )


def token_logits(spec: Transformer, weights: Tensors, x: tf.Tensor) -> tf.Tensor:
    """Computes the logits of x (rows, width) over the token table, padding kept out of the loss.

    Args:
        spec: The workload.
        weights: Canonical name to variable; ``head.bias`` is added if there is one.
        x: Activations, (batch · sequence, width).

    Returns:
        Logits, (batch · sequence, rows of the token table).
    """
    table = matrix(weights, "embed.token.table")
    logits = tf.matmul(tf.cast(x, table.dtype), table, transpose_b=True)
    if "head.bias" in weights:
        logits = add_bias("head")(weights, logits)
    if not spec.padding:
        return logits
    return tf.nn.bias_add(logits, tf.constant(spec.logit_mask(), logits.dtype))
