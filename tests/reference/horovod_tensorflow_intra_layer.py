"""Column- and row-split pairs with custom gradients around hvd.allreduce."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.models_tensorflow import (
    LAYERS,
    Part,
    cross_entropy,
    forward,
    make_weights,
    split_axis,
    tensors,
)
from tests.reference.tensorflow_adam import Adam

Backward = Callable[[tf.Tensor], tf.Tensor]


@tf.custom_gradient
def enter(x: tf.Tensor) -> tuple[tf.Tensor, Backward]:
    return tf.identity(x), lambda gradient: hvd.allreduce(gradient, op=hvd.Sum)


@tf.custom_gradient
def merge(part: tf.Tensor) -> tuple[tf.Tensor, Backward]:
    return hvd.allreduce(part, op=hvd.Sum), lambda gradient: gradient


def mine(name: str, array: np.ndarray) -> np.ndarray:
    axis = split_axis(name)
    return array if axis is None else np.split(array, hvd.size(), axis)[hvd.rank()]


def build(workload: str = "mlp") -> Callable[[], object]:
    layers, weights = LAYERS[workload], make_weights(workload)
    variables = {name: tf.Variable(mine(name, array)) for name, array in weights.items()}
    optimizer = Adam(variables, RATE[workload])
    x, y = tensors(workload)

    def branch(part: Part, x: tf.Tensor) -> tf.Tensor:
        return merge(part(variables, enter(x)))

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(forward(layers, variables, x, branch), y)
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
