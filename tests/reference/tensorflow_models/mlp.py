"""Dense layers, in pairs."""

import tensorflow as tf

from tests.reference.common import WIDTHS
from tests.reference.tensorflow_models import Layer, Shards, Tensors, dense, dense_shapes


def layers() -> list[Layer]:
    return [
        _pair("dense0", "dense1", *WIDTHS[:3]), _pair("dense2", "dense3", *WIDTHS[2:5]),
        Layer(dense_shapes("dense4", *WIDTHS[4:]), _output),
    ]


def _pair(first: str, second: str, entering: int, between: int, leaving: int) -> Layer:
    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        return _gelu(dense(weights, first, x)) @ weights[f"{second}/kernel"]

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        return _gelu(tf.nn.bias_add(shards.branch(part, x), weights[f"{second}/bias"]))

    shapes = dense_shapes(first, entering, between) | dense_shapes(second, between, leaving)
    return Layer(shapes, apply, (first,), (second,))


def _output(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    return dense(weights, "dense4", x)


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)
