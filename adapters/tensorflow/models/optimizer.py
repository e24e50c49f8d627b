"""Adam by the written formula, on TensorFlow's fused kernel."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from adapters.tensorflow.models.branch import Tensors
from suite.spec.workloads import Adam as WrittenAdam


class Adam:
    """p -= lr * m_hat / (sqrt(v_hat) + epsilon).

    The kernel adds its epsilon to sqrt(v), before bias correction; handing it
    ``epsilon * sqrt(1 - beta2^t)`` makes it the written one (Kingma & Ba 2015, end of section 2).
    Works in a replica context, with variables that are mirrored or on one device each.
    """

    def __init__(self, written: WrittenAdam, variables: Tensors) -> None:
        self.written, self.variables = written, variables
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.slots = {name: (_zeros(held), _zeros(held)) for name, held in variables.items()}

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> None:
        """One update from gradients of the whole global batch."""
        tf.distribute.get_replica_context().merge_call(self._update, args=(dict(gradients),))

    def _update(self, strategy: tf.distribute.Strategy, gradients: Mapping[str, tf.Tensor]) -> None:
        self.count.assign_add(1)
        kind = next(iter(self.variables.values())).dtype
        steps = tf.cast(self.count.read_value(), kind)
        powers = [tf.cast(beta, kind) ** steps for beta in (self.written.beta1, self.written.beta2)]
        for name, gradient in gradients.items():
            arguments = (*self.slots[name], *powers, gradient)
            strategy.extended.update(self.variables[name], self._one, args=arguments, group=False)

    def _one(
        self, variable: tf.Variable, m: tf.Variable, v: tf.Variable, power1: tf.Tensor,
        power2: tf.Tensor, gradient: tf.Tensor,
    ) -> None:
        kind, adam = variable.dtype, self.written
        with tf.device(variable.device):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, beta1_power=power1, beta2_power=power2,
                lr=tf.constant(adam.learning_rate, kind), beta1=tf.constant(adam.beta1, kind),
                beta2=tf.constant(adam.beta2, kind), epsilon=adam.epsilon * tf.sqrt(1 - power2),
                grad=gradient,
            )


def _zeros(variable: tf.Variable) -> tf.Variable:
    with tf.device(variable.device):
        return tf.Variable(tf.zeros_like(variable), trainable=False)
