"""BERT with its masked tokens alone, layers in the order of Devlin et al. 2019."""

import tensorflow as tf

from tests.reference.common import BLOCKS, SEQUENCE, VOCABULARY, WIDTH
from tests.reference.tensorflow_models import (
    Layer,
    Shards,
    Tensors,
    dense,
    dense_shapes,
    norm_shapes,
)
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

TABLE = {"token/table": (VOCABULARY["bert"], WIDTH)}
PLACES = {"position/table": (SEQUENCE, WIDTH), "segment/table": (2, WIDTH)}
EPSILON = 1e-12


def layers() -> list[Layer]:
    head = dense_shapes("head", WIDTH, WIDTH) | norm_shapes("head/norm", WIDTH)
    return [
        Layer(TABLE | PLACES | norm_shapes("norm", WIDTH), _embed),
        *(_block(f"block{index}") for index in range(BLOCKS["bert"])),
        Layer(head | TABLE | {"logits/bias": (VOCABULARY["bert"],)}, _head),
    ]


def _embed(weights: Tensors, tokens: tf.Tensor, shards: Shards) -> tf.Tensor:
    """All tokens are of the first segment."""
    places = weights["position/table"] + weights["segment/table"][0]
    x = tf.gather(weights["token/table"], tokens) + places
    return norm(weights, "norm", tf.reshape(x, (-1, WIDTH)), EPSILON)


def _block(name: str) -> Layer:
    parts = attention(f"{name}/attention"), feed_forward(name, tanh=False)
    lasts = rows(name)

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        for number, (part, last) in enumerate(zip(parts, lasts, strict=True), start=1):
            y = tf.nn.bias_add(shards.branch(part, x), weights[f"{last}/bias"])
            x = norm(weights, f"{name}/norm{number}", x + y, EPSILON)
        return x

    shapes = attention_shapes(name) | block_norm_shapes(name, 1)
    shapes |= feed_forward_shapes(name) | block_norm_shapes(name, 2)
    return Layer(shapes, apply, columns(name), lasts)


def _head(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    hidden = norm(weights, "head/norm", tf.nn.gelu(dense(weights, "head", x)), EPSILON)
    logits = tf.matmul(hidden, weights["token/table"], transpose_b=True)
    return tf.nn.bias_add(logits, weights["logits/bias"])
