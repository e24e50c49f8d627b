"""Adam by the written formula, on TensorFlow's fused kernel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import Tensors
from suite.contract.workloads import Adam as WrittenAdam
from suite.contract.workloads import Weights


class Adam:
    """p -= lr * m_hat / (sqrt(v_hat) + epsilon).

    The kernel adds its epsilon to sqrt(v), before bias correction; handing it
    ``epsilon * sqrt(1 - beta2^t)`` makes it the written one (Kingma & Ba 2015, end of section 2).
    The correction itself goes into the learning rate, computed in float64 from the betas that the
    kernel has: its own float32 ``1 - beta2^t`` loses three of seven digits in the first steps.
    Works in a replica context, with variables that are mirrored or on one device each.
    """

    def __init__(self, written: WrittenAdam, variables: Tensors) -> None:
        self.written, self.variables = written, variables
        self.count = tf.Variable(0, dtype=tf.float64, trainable=False)
        self.slots = {name: (_zeros(held), _zeros(held)) for name, held in variables.items()}

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> None:
        """One update from gradients of the whole global batch."""
        tf.distribute.get_replica_context().merge_call(self._update, args=(dict(gradients),))

    def first_gradients(self) -> Weights:
        """Those of the first update, once it is made: the first moment is (1 - beta1) times them.

        float32 rounds that by 1e-7, a hundredth of the gate. A graph that computes gradients alone
        takes as long to trace as the step's, and is not the one that trains.
        """
        beta1 = self.written.beta1
        return {name: _unscaled(m.numpy(), beta1) for name, (m, _) in self.slots.items()}

    def _update(self, strategy: tf.distribute.Strategy, gradients: Mapping[str, tf.Tensor]) -> None:
        self.count.assign_add(1)
        adam, steps = self.written, self.count.read_value()
        kind = next(iter(self.variables.values())).dtype
        beta1, beta2 = (float(np.asarray(beta, kind.as_numpy_dtype))
                        for beta in (adam.beta1, adam.beta2))
        root = tf.sqrt(1 - beta2**steps)
        rate = adam.learning_rate * root / (1 - beta1**steps)
        shared = tf.cast(rate, kind), tf.cast(adam.epsilon * root, kind)
        for name, gradient in gradients.items():
            arguments = (*self.slots[name], *shared, gradient)
            strategy.extended.update(self.variables[name], self._one, args=arguments, group=False)

    def _one(
        self, variable: tf.Variable, m: tf.Variable, v: tf.Variable, rate: tf.Tensor,
        epsilon: tf.Tensor, gradient: tf.Tensor,
    ) -> None:
        kind, adam = variable.dtype, self.written
        corrected = tf.constant(0, kind)  # powers of zero: the kernel corrects no more
        with tf.device(variable.device):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, beta1_power=corrected,
                beta2_power=corrected, lr=rate, beta1=tf.constant(adam.beta1, kind),
                beta2=tf.constant(adam.beta2, kind), epsilon=epsilon, grad=gradient,
            )


def _unscaled(moment: np.ndarray, beta1: float) -> np.ndarray:
    """With the betas that the kernel has, of the moment's type."""
    kind = moment.dtype.type
    return np.asarray(moment / (kind(1) - kind(beta1)))


def _zeros(variable: tf.Variable) -> tf.Variable:
    with tf.device(variable.device):
        return tf.Variable(tf.zeros_like(variable), trainable=False)
