"""DistributedGradientTape in one tf.function."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    forward,
    loss_of,
    make_layers,
    make_weights,
    tensors,
)


def build(workload: str = "mlp") -> Callable[[], object]:
    layers, cross_entropy = make_layers(workload), loss_of(workload)
    variables = {name: tf.Variable(array) for name, array in make_weights(layers).items()}
    hvd.broadcast_variables(list(variables.values()), root_rank=0)
    optimizer = Adam(variables, RATE[workload])
    x, y = (tf.split(tensor, hvd.size())[hvd.rank()] for tensor in tensors(workload))

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(forward(layers, variables, x), y)
        distributed = hvd.DistributedGradientTape(tape, sparse_as_dense=True)
        gradients = distributed.gradient(loss, list(variables.values()))
        optimizer.apply(dict(zip(variables, gradients, strict=True)))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
