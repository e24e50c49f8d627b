"""A custom training loop: tape and fused Adam in one tf.function."""

from collections.abc import Callable

import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.models_tensorflow import (
    LAYERS,
    cross_entropy,
    forward,
    make_weights,
    tensors,
)
from tests.reference.tensorflow_adam import Adam


def build(workload: str = "mlp") -> Callable[[], object]:
    layers = LAYERS[workload]
    variables = {name: tf.Variable(array) for name, array in make_weights(workload).items()}
    optimizer = Adam(variables, RATE[workload])
    x, y = tensors(workload)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(forward(layers, variables, x), y)
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    report(build)
