"""Adam as the workload's formula has it, computed by TensorFlow's fused kernel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.branch import Tensors
from suite.contract.workloads import Adam as WrittenAdam
from suite.contract.workloads import Weights


class Adam:
    """Adam: p -= lr * m_hat / (sqrt(v_hat) + epsilon).

    The kernel adds its epsilon to sqrt(v), before bias correction. Passing it
    ``epsilon * sqrt(1 - beta2^t)`` gives the formula above (Kingma & Ba 2015, end of section 2).
    The bias correction goes into the learning rate. It is computed in float64 from the betas as the
    kernel rounds them, because the kernel's own float32 ``1 - beta2^t`` loses three of its seven
    digits in the first steps.

    It works in a replica context, with variables that are mirrored or live on a device each.

    Args:
        written: The hyperparameters of the workload.
        variables: Canonical name to the variable that is trained.
    """

    def __init__(self, written: WrittenAdam, variables: Tensors) -> None:
        self.written, self.variables = written, variables
        self.count = tf.Variable(0, dtype=tf.float64, trainable=False)
        self.slots = {name: (_zeros(v), _zeros(v)) for name, v in variables.items()}

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> None:
        """Updates all variables from the mean gradients of the global batch."""
        tf.distribute.get_replica_context().merge_call(self._update, args=(dict(gradients),))

    def first_gradients(self) -> Weights:
        """Recovers the gradients of the first update; call it after that and before the second.

        After the first update the first moment is (1 - beta1) times the gradient. Dividing again
        rounds by 1e-7 in float32, a hundredth of what the parity gate allows. A second graph for
        the gradients alone would take as long to trace as the step's, and it would not be the
        graph that trains.

        Returns:
            Canonical name to the gradient.
        """
        beta1 = self.written.beta1
        return {name: _unscaled(m.numpy(), beta1) for name, (m, _) in self.slots.items()}

    def _update(self, strategy: tf.distribute.Strategy, gradients: Mapping[str, tf.Tensor]) -> None:
        """Makes an update in the cross-replica context."""
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
            strategy.extended.update(
                self.variables[name], self._update_variable, args=arguments, group=False
            )

    def _update_variable(
        self, variable: tf.Variable, m: tf.Variable, v: tf.Variable, rate: tf.Tensor,
        epsilon: tf.Tensor, gradient: tf.Tensor,
    ) -> None:
        """Runs the kernel for a variable, with a rate and epsilon that are corrected already."""
        kind, adam = variable.dtype, self.written
        corrected = tf.constant(0, kind)  # with powers of 0 the kernel itself corrects nothing
        with tf.device(variable.device):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=m.handle, v=v.handle, beta1_power=corrected,
                beta2_power=corrected, lr=rate, beta1=tf.constant(adam.beta1, kind),
                beta2=tf.constant(adam.beta2, kind), epsilon=epsilon, grad=gradient,
            )


def _unscaled(moment: np.ndarray, beta1: float) -> np.ndarray:
    """Divides by (1 - beta1), with beta1 rounded to the moment's type as in the kernel."""
    kind = moment.dtype.type
    return np.asarray(moment / (kind(1) - kind(beta1)))


def _zeros(variable: tf.Variable) -> tf.Variable:
    """Makes a moment of ``variable`` on the same device."""
    with tf.device(variable.device):
        return tf.Variable(tf.zeros_like(variable), trainable=False)
