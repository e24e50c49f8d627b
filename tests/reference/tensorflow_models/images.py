"""What models of images share; (batch, height, width, channels) everywhere."""

import tensorflow as tf

from tests.reference.tensorflow_models import Shapes, Tensors, norm_shapes


def conv_shapes(name: str, kernel: int, entering: int, leaving: int) -> Shapes:
    """With the normalisation behind it, under the same name."""
    return {f"{name}/kernel": (kernel, kernel, entering, leaving)} | norm_shapes(name, leaving)


def convolve(weights: Tensors, name: str, x: tf.Tensor, stride: int = 1) -> tf.Tensor:
    kernel = weights[f"{name}/kernel"]
    return tf.nn.conv2d(x, kernel, stride, padding(kernel.shape[0], stride))


def convolve_each(weights: Tensors, name: str, x: tf.Tensor, stride: int) -> tf.Tensor:
    """Each channel by itself."""
    kernel = weights[f"{name}/depthwise"]
    around = padding(kernel.shape[0], stride)
    return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), around)


def padding(kernel: int, stride: int) -> str | list[list[int]]:
    """The same on every side, where TensorFlow's own has the odd pixel behind."""
    side = [kernel // 2] * 2
    return "SAME" if stride == 1 else [[0, 0], side, side, [0, 0]]


def batch_norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """The fused kernel; tf.compat.v1's function around it raises an epsilon of 1e-5."""
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=weights[f"{name}/scale"], offset=weights[f"{name}/offset"], mean=(),
        variance=(), epsilon=epsilon, is_training=True,
    ).y
