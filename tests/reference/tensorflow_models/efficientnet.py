"""EfficientNet-B0 without stochastic depth and dropout."""

import tensorflow as tf

from tests.reference.common import CLASSES, inverted_bottlenecks
from tests.reference.tensorflow_models import (
    Layer,
    Shards,
    Tensors,
    dense,
    dense_shapes,
    norm_shapes,
)
from tests.reference.tensorflow_models.images import (
    batch_norm,
    conv_shapes,
    convolve,
    convolve_each,
)

STEM, EPSILON = 32, 1e-3


def layers() -> list[Layer]:
    inner = inverted_bottlenecks(STEM)
    leaving, wide = inner[-1][1], 4 * inner[-1][1]
    head = conv_shapes("head", 1, leaving, wide) | dense_shapes("classifier", wide, CLASSES)
    return [
        Layer(conv_shapes("stem", 3, 3, STEM), _stem),
        *(_block(f"block{index}", *facts) for index, facts in enumerate(inner)),
        Layer(head, _head),
    ]


def _activated(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.silu(batch_norm(weights, name, x, EPSILON))


def _stem(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    return _activated(weights, "stem", convolve(weights, "stem", x, 2))


def _block(
    name: str, entering: int, leaving: int, ratio: int, kernel: int, stride: int
) -> Layer:
    """Widened by ``ratio`` inside, where squeeze-and-excitation scales the channels."""
    names = (f"{name}/{part}" for part in ("expand", "spatial", "reduce", "excite", "project"))
    expand, spatial, reduce, excite, project = names
    inside, squeezed, widens = entering * ratio, entering // 4, ratio > 1
    residual = stride == 1 and entering == leaving

    def filtered(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        if widens:
            x = _activated(weights, expand, convolve(weights, expand, x))
        return _activated(weights, spatial, convolve_each(weights, spatial, x, stride))

    def reduced(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(x, (1, 2)) @ weights[f"{reduce}/kernel"]

    def narrowed(weights: Tensors, x: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
        gate = tf.sigmoid(dense(weights, excite, means))
        return convolve(weights, project, x * gate[:, None, None, :])

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        if not widens:
            shards = Shards(weights)
        wide = shards.each(filtered, shards.copies(x))
        means = tf.nn.bias_add(shards.total(shards.each(reduced, wide)), weights[f"{reduce}/bias"])
        narrow = shards.each(narrowed, wide, shards.copies(tf.nn.silu(means)))
        out = batch_norm(weights, project, shards.total(narrow), EPSILON)
        return x + out if residual else out

    shapes = conv_shapes(expand, 1, entering, inside) if widens else {}
    shapes |= {f"{spatial}/depthwise": (kernel, kernel, inside, 1)} | norm_shapes(spatial, inside)
    shapes |= dense_shapes(reduce, inside, squeezed) | dense_shapes(excite, squeezed, inside)
    shapes |= conv_shapes(project, 1, inside, leaving)
    if not widens:
        return Layer(shapes, apply)
    return Layer(shapes, apply, (expand, spatial, excite), (reduce, project))


def _head(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    x = _activated(weights, "head", convolve(weights, "head", x))
    return dense(weights, "classifier", tf.reduce_mean(x, (1, 2)))
