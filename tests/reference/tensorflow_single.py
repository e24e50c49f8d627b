"""A custom training loop: tape and fused Adam in one tf.function."""

from collections.abc import Callable

import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    in_groups,
    loss_of,
    make_layers,
    make_weights,
    tensors,
)


def build(workload: str = "mlp", groups: int = 1) -> Callable[[], object]:
    layers, cross_entropy = make_layers(workload), loss_of(workload)
    variables = {name: tf.Variable(array) for name, array in make_weights(layers).items()}
    optimizer = Adam(variables, RATE[workload])
    x, y = tensors(workload)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(in_groups(layers, variables, x, groups), y)
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    report(build)
