"""What transformers share: rows of tokens, so that products with weights are plain ones."""

import tensorflow as tf

from tests.reference.common import HEADS, SEQUENCE, WIDTH
from tests.reference.tensorflow_models import (
    Part,
    Shapes,
    Tensors,
    dense,
    dense_shapes,
    norm_shapes,
)

HEAD_WIDTH = WIDTH // HEADS


def norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    offset, scale = weights[f"{name}/offset"], weights[f"{name}/scale"]
    return tf.nn.batch_normalization(x, mean, variance, offset, scale, epsilon)


def split_heads(x: tf.Tensor, length: int = SEQUENCE) -> tf.Tensor:
    """(…, heads, length, head width), as many heads as a device has columns for."""
    shape = -1, length, x.shape[-1] // HEAD_WIDTH, HEAD_WIDTH
    return tf.transpose(tf.reshape(x, shape), (0, 2, 1, 3))


def merge_heads(mixed: tf.Tensor) -> tf.Tensor:
    heads = mixed.shape[1]
    return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, heads * HEAD_WIDTH))


def attention(name: str, mask: tf.Tensor | None = None) -> Part:
    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        query, key, value = (
            split_heads(dense(weights, f"{name}/{part}", x)) for part in ("query", "key", "value")
        )
        scores = tf.matmul(query * HEAD_WIDTH**-0.5, key, transpose_b=True)
        shares = tf.nn.softmax(scores if mask is None else scores + mask)
        return merge_heads(tf.matmul(shares, value)) @ weights[f"{name}/project/kernel"]

    return part


def feed_forward(name: str, tanh: bool) -> Part:
    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        hidden = tf.nn.gelu(dense(weights, f"{name}/expand", x), approximate=tanh)
        return hidden @ weights[f"{name}/contract/kernel"]

    return part


def attention_shapes(name: str) -> Shapes:
    shapes: Shapes = {}
    for part in ("query", "key", "value", "project"):
        shapes |= dense_shapes(f"{name}/attention/{part}", WIDTH, WIDTH)
    return shapes


def feed_forward_shapes(name: str) -> Shapes:
    expand = dense_shapes(f"{name}/expand", WIDTH, 4 * WIDTH)
    return expand | dense_shapes(f"{name}/contract", 4 * WIDTH, WIDTH)


def block_norm_shapes(name: str, number: int) -> Shapes:
    return norm_shapes(f"{name}/norm{number}", WIDTH)


def columns(name: str) -> tuple[str, ...]:
    parts = ("attention/query", "attention/key", "attention/value", "expand")
    return tuple(f"{name}/{part}" for part in parts)


def rows(name: str) -> tuple[str, ...]:
    return f"{name}/attention/project", f"{name}/contract"
