"""GPT-2, a layer a block."""

import numpy as np
import tensorflow as tf

from tests.reference.common import BLOCKS, SEQUENCE, VOCABULARY, WIDTH
from tests.reference.tensorflow_models import Layer, Shards, Tensors, norm_shapes
from tests.reference.tensorflow_models.transformer import (
    attention,
    attention_shapes,
    block_norm_shapes,
    columns,
    feed_forward,
    feed_forward_shapes,
    norm,
    rows,
)

TABLE = {"token/table": (VOCABULARY["gpt"], WIDTH)}
MASK = np.triu(np.full((SEQUENCE, SEQUENCE), -np.inf, np.float32), 1)


def layers() -> list[Layer]:
    return [
        Layer(TABLE | {"position/table": (SEQUENCE, WIDTH)}, _embed),
        *(_block(f"block{index}") for index in range(BLOCKS["gpt"])),
        Layer(norm_shapes("norm", WIDTH) | TABLE, _head),
    ]


def _embed(weights: Tensors, tokens: tf.Tensor, shards: Shards) -> tf.Tensor:
    x = tf.gather(weights["token/table"], tokens) + weights["position/table"]
    return tf.reshape(x, (-1, WIDTH))


def _block(name: str) -> Layer:
    parts = attention(f"{name}/attention", MASK), feed_forward(name, tanh=True)
    lasts = rows(name)

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        for number, (part, last) in enumerate(zip(parts, lasts, strict=True), start=1):
            y = shards.branch(part, norm(weights, f"{name}/norm{number}", x, 1e-5))
            x = x + tf.nn.bias_add(y, weights[f"{last}/bias"])
        return x

    shapes = block_norm_shapes(name, 1) | attention_shapes(name)
    shapes |= block_norm_shapes(name, 2) | feed_forward_shapes(name)
    return Layer(shapes, apply, columns(name), lasts)


def _head(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    return tf.matmul(norm(weights, "norm", x, 1e-5), weights["token/table"], transpose_b=True)
