"""Column- and row-split pairs with custom gradients around hvd.allreduce."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    Shards,
    forward,
    loss_of,
    make_layers,
    make_weights,
    split_axes,
    tensors,
)

Backward = Callable[[tf.Tensor], tf.Tensor]


@tf.custom_gradient
def enter(x: tf.Tensor) -> tuple[tf.Tensor, Backward]:
    return tf.identity(x), lambda gradient: hvd.allreduce(gradient, op=hvd.Sum)


@tf.custom_gradient
def merge(part: tf.Tensor) -> tuple[tf.Tensor, Backward]:
    return hvd.allreduce(part, op=hvd.Sum), lambda gradient: gradient


class Mine(Shards):
    """This rank's shard; the others are with the other ranks."""

    def copies(self, x: tf.Tensor) -> list[tf.Tensor]:
        return [enter(x)]

    def total(self, partial: list[tf.Tensor]) -> tf.Tensor:
        return merge(*partial)


def mine(array: np.ndarray, axis: int) -> np.ndarray:
    return np.split(array, hvd.size(), axis)[hvd.rank()]


def build(workload: str = "mlp") -> Callable[[], object]:
    layers, cross_entropy = make_layers(workload), loss_of(workload)
    axes = split_axes(layers)
    variables = {
        name: tf.Variable(mine(array, axes[name]) if name in axes else array)
        for name, array in make_weights(layers).items()
    }
    optimizer = Adam(variables, RATE[workload])
    x, y = tensors(workload)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(forward(layers, variables, x, Mine(variables)), y)
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
