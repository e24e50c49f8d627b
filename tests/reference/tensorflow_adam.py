"""TensorFlow's fused Adam, as a loop without Keras calls it."""

from collections.abc import Mapping

import tensorflow as tf


class Adam:
    """Each variable is updated on the device that holds it."""

    def __init__(self, variables: Mapping[str, tf.Variable], rate: float) -> None:
        self.variables, self.rate = variables, rate
        self.count, self.slots = tf.Variable(0.0), {}
        for name, variable in variables.items():
            with tf.device(variable.device):
                zeros = tf.zeros_like(variable)
                self.slots[name] = tf.Variable(zeros), tf.Variable(zeros)

    def apply(self, gradients: Mapping[str, tf.Tensor | tf.IndexedSlices]) -> None:
        powers = self.next_powers()
        for name, gradient in gradients.items():
            variable = self.variables[name]
            with tf.device(variable.device):
                dense = tf.convert_to_tensor(gradient)  # slices of an embedding become whole
                self.update(variable, *self.slots[name], dense, *powers)

    def next_powers(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The betas to the power of the number of a step, which begins."""
        self.count.assign_add(1.0)
        return 0.9**self.count, 0.999**self.count

    def update(
        self, variable: tf.Variable, m: tf.Variable, v: tf.Variable, gradient: tf.Tensor,
        power1: tf.Tensor, power2: tf.Tensor,
    ) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=m.handle, v=v.handle, beta1_power=power1, beta2_power=power2,
            lr=self.rate, beta1=0.9, beta2=0.999, epsilon=1e-8, grad=gradient,
        )
