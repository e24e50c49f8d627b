"""XLNet (Yang et al. 2019) without memory, both streams side by side."""

import numpy as np
import tensorflow as tf

from tests.reference.common import BLOCKS, SEQUENCE, VOCABULARY, WIDTH
from tests.reference.tensorflow_models import (
    FEATURES,
    Layer,
    Part,
    Shapes,
    Shards,
    Tensors,
)
from tests.reference.tensorflow_models.transformer import (
    HEAD_WIDTH,
    block_norm_shapes,
    columns,
    feed_forward,
    feed_forward_shapes,
    merge_heads,
    norm,
    rows,
    split_heads,
)

TABLE = {"token/table": (VOCABULARY["xlnet"], WIDTH)}
EPSILON = 1e-12


def layers() -> list[Layer]:
    half = np.arange(SEQUENCE) >= SEQUENCE // 2
    facts = tf.constant(_encodings()), tf.constant(np.tile(half[:, None] == half, (2, 1)))
    return [
        Layer(TABLE | {"start/table": (1, WIDTH)}, _embed),
        *(_block(f"block{index}", *facts) for index in range(BLOCKS["xlnet"])),
        Layer(TABLE | {"logits/bias": (VOCABULARY["xlnet"],)}, _head),
    ]


def _encodings() -> np.ndarray:
    """(2 · sequence, width): of distances from ``sequence`` down."""
    distances = np.arange(SEQUENCE, -SEQUENCE, -1.0)
    angles = np.outer(distances, 1e4 ** -(np.arange(0, WIDTH, 2) / WIDTH))
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def _unseen(order: tf.Tensor) -> tf.Tensor:
    """(batch, 1, 2 · sequence, sequence): minus infinity where a stream must not look."""
    mine, others = order[:, :, None], order[:, None, :]
    hidden = tf.concat([others > mine, others >= tf.maximum(mine, 1)], 1)
    return tf.where(hidden, -np.inf, 0.0)[:, None]


def _embed(weights: Tensors, features: tf.Tensor, shards: Shards) -> tf.Tensor:
    """The query stream begins as one vector everywhere."""
    content = tf.gather(weights["token/table"], features[:, 0])
    query = tf.broadcast_to(weights["start/table"], content.shape)
    return tf.reshape(tf.stack([content, query], 1), (-1, WIDTH))


def _stream(x: tf.Tensor, number: int) -> tf.Tensor:
    """Rows of a stream, of rows of (batch, stream, position)."""
    return tf.reshape(tf.reshape(x, (-1, 2, SEQUENCE, WIDTH))[:, number], (-1, WIDTH))


def _attention(name: str, encodings: tf.Tensor, same_half: tf.Tensor) -> Part:
    """Queries of both streams, on the content's keys."""

    def part(weights: Tensors, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        def heads(layer: str, x: tf.Tensor, length: int) -> tf.Tensor:
            return split_heads(x @ weights[f"{name}/{layer}/kernel"], length)

        content = _stream(x, 0)
        query = heads("query", x, 2 * SEQUENCE) * HEAD_WIDTH**-0.5
        key, value = heads("key", content, SEQUENCE), heads("value", content, SEQUENCE)
        near = heads("relative", encodings, 2 * SEQUENCE)

        def scores(kind: str, keys: tf.Tensor) -> tf.Tensor:
            bias = tf.reshape(weights[f"{name}/{kind}/bias"], (-1, 1, HEAD_WIDTH))
            return tf.matmul(query + bias * HEAD_WIDTH**-0.5, keys, transpose_b=True)

        segments = split_heads(weights[f"{name}/segment/table"], 2)
        same, other = tf.split(scores("segment", segments), 2, -1)
        total = scores("content", key) + _by_distance(scores("position", near))
        shares = tf.nn.softmax(total + (tf.where(same_half, same, other) + mask))
        return merge_heads(tf.matmul(shares, value)) @ weights[f"{name}/project/kernel"]

    return part


def _by_distance(scores: tf.Tensor) -> tf.Tensor:
    """(…, 2 · sequence, row) -> (…, 2 · sequence, j): at position i of a stream, row
    ``sequence - i + j``; in memory, rows of one entry less.

    Not with brackets: the gradient of a strided slice was a third of the step.
    """
    batch, heads = scores.shape[:2]
    flat = tf.reshape(scores, (batch, heads, 2, 2 * SEQUENCE**2))
    streams = tf.slice(flat, (0, 0, 0, SEQUENCE), (-1, -1, -1, -1))
    whole = tf.reshape(streams, (batch, heads, 2 * SEQUENCE, 2 * SEQUENCE - 1))
    return tf.slice(whole, (0, 0, 0, 0), (-1, -1, -1, SEQUENCE))


def _block(name: str, encodings: tf.Tensor, same_half: tf.Tensor) -> Layer:
    attention = _attention(f"{name}/attention", encodings, same_half)
    inner = feed_forward(name, tanh=False)
    project, contract = rows(name)

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        mask = _unseen(weights[FEATURES][:, 1])
        mixed = shards.branch(lambda shard, x: attention(shard, x, mask), x)
        x = norm(weights, f"{name}/norm1", x + mixed, EPSILON)
        y = tf.nn.bias_add(shards.branch(inner, x), weights[f"{contract}/bias"])
        return norm(weights, f"{name}/norm2", x + y, EPSILON)

    def owned(*parts: str) -> tuple[str, ...]:
        return tuple(f"{name}/attention/{part}" for part in parts)

    matrices = (*owned("query", "key", "value", "relative"), project)
    biases = owned("content", "position", "segment")
    shapes: Shapes = {f"{matrix}/kernel": (WIDTH, WIDTH) for matrix in matrices}
    shapes |= {f"{bias}/bias": (WIDTH,) for bias in biases}
    shapes |= {f"{name}/attention/segment/table": (2, WIDTH)} | block_norm_shapes(name, 1)
    shapes |= feed_forward_shapes(name) | block_norm_shapes(name, 2)
    return Layer(shapes, apply, (*columns(name), *owned("relative"), *biases), (project, contract))


def _head(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    logits = tf.matmul(_stream(x, 1), weights["token/table"], transpose_b=True)
    return tf.nn.bias_add(logits, weights["logits/bias"])
