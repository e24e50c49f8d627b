"""ResNet (v1.5) with one bottleneck a stage."""

import tensorflow as tf

from tests.reference.common import BLOCKS, CLASSES
from tests.reference.tensorflow_models import Layer, Shards, Tensors, dense, dense_shapes
from tests.reference.tensorflow_models.images import batch_norm, conv_shapes, convolve, padding

WIDTH, EPSILON = 64, 1e-5


def layers() -> list[Layer]:
    found, entering = [Layer(conv_shapes("stem", 7, 3, WIDTH), _stem)], WIDTH
    for index in range(BLOCKS["resnet"]):
        width = WIDTH * 2**index
        found.append(_block(f"block{index}", entering, width, 2 if index else 1))
        entering = 4 * width
    return [*found, Layer(dense_shapes("classifier", entering, CLASSES), _head)]


def _normed(weights: Tensors, name: str, x: tf.Tensor, stride: int = 1) -> tf.Tensor:
    return batch_norm(weights, name, convolve(weights, name, x, stride), EPSILON)


def _stem(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    return tf.nn.max_pool2d(tf.nn.relu(_normed(weights, "stem", x, 2)), 3, 2, padding(3))


def _block(name: str, entering: int, width: int, stride: int) -> Layer:
    conv1, conv2, conv3 = (f"{name}/conv{number}" for number in (1, 2, 3))
    around = f"{name}/downsample"

    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        return convolve(weights, conv3, tf.nn.relu(_normed(weights, conv2, x, stride)))

    def apply(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
        hidden = tf.nn.relu(_normed(weights, conv1, x))
        out = batch_norm(weights, conv3, shards.branch(part, hidden), EPSILON)
        return tf.nn.relu(out + _normed(weights, around, x, stride))

    shapes = conv_shapes(conv1, 1, entering, width) | conv_shapes(conv2, 3, width, width)
    shapes |= conv_shapes(conv3, 1, width, 4 * width)
    shapes |= conv_shapes(around, 1, entering, 4 * width)
    return Layer(shapes, apply, (conv2,), (conv3,))


def _head(weights: Tensors, x: tf.Tensor, shards: Shards) -> tf.Tensor:
    return dense(weights, "classifier", tf.reduce_mean(x, (1, 2)))
