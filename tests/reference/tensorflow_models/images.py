"""What models of images share; (batch, height, width, channels) everywhere."""

import tensorflow as tf

from tests.reference.tensorflow_models import Shapes, Tensors, norm_shapes


def conv_shapes(name: str, kernel: int, entering: int, leaving: int) -> Shapes:
    """With the normalisation behind it, under the same name."""
    return {f"{name}/kernel": (kernel, kernel, entering, leaving)} | norm_shapes(name, leaving)


def convolve(weights: Tensors, name: str, x: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """With zeros around the image, the same on every side, as Keras's ResNet50 has them.

    Not as the convolution's own padding, which oneDNN does not take: 2.6 times a step of ResNet.
    """
    kernel = weights[f"{name}/kernel"]
    if stride > 1 and kernel.shape[0] > 1:
        x = tf.pad(x, padding(kernel.shape[0]))
    return tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID")


def convolve_each(weights: Tensors, name: str, x: tf.Tensor, stride: int) -> tf.Tensor:
    """Each channel by itself; here padding of its own takes less time."""
    kernel = weights[f"{name}/depthwise"]
    around = "SAME" if stride == 1 else padding(kernel.shape[0])
    return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), around)


def padding(kernel: int) -> list[list[int]]:
    """The same on every side, where TensorFlow's own has the odd pixel behind."""
    side = [kernel // 2] * 2
    return [[0, 0], side, side, [0, 0]]


def batch_norm(weights: Tensors, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """The fused kernel; tf.compat.v1's function around it raises an epsilon of 1e-5."""
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=weights[f"{name}/scale"], offset=weights[f"{name}/offset"], mean=(),
        variance=(), epsilon=epsilon, is_training=True,
    ).y
