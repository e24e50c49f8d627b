"""TensorFlow's fused Adam, as a loop without Keras calls it."""

import tensorflow as tf


def update(
    variable: tf.Variable, m: tf.Variable, v: tf.Variable, gradient: tf.Tensor,
    power1: tf.Tensor, power2: tf.Tensor,
) -> None:
    """``power1`` and ``power2`` are the betas to the power of the step's number."""
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle, m=m.handle, v=v.handle, beta1_power=power1, beta2_power=power2,
        lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, grad=gradient,
    )
