"""Manual placement: pairs of layers split over two logical CPU devices, merged on the first."""

from collections.abc import Callable

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

DEVICES = ["/CPU:0", "/CPU:1"]


def build(workload: str = "mlp") -> Callable[[], object]:
    layers, weights = LAYERS[workload], make_weights(workload)
    axes = {name: axis for name in weights if (axis := split_axis(name)) is not None}
    with tf.device(DEVICES[0]):
        whole = {name: tf.Variable(weights[name]) for name in weights if name not in axes}
        x, y = tensors(workload)
    shards = []
    for part, device in enumerate(DEVICES):
        with tf.device(device):
            shards.append({
                name: tf.Variable(np.split(weights[name], len(DEVICES), axis)[part])
                for name, axis in axes.items()
            })
    parts = enumerate(shards)
    named = {f"{name}@{part}": v for part, shard in parts for name, v in shard.items()}
    variables = whole | named
    optimizer = Adam(variables, RATE[workload])

    def branch(part: Part, x: tf.Tensor) -> tf.Tensor:
        partial = []
        for device, shard in zip(DEVICES, shards, strict=True):
            with tf.device(device):
                # A copy: what flows back is summed here before it is sent.
                partial.append(part(shard, tf.identity(x)))
        with tf.device(DEVICES[0]):
            return tf.add_n(partial)

    @tf.function
    def step() -> tf.Tensor:
        with tf.device(DEVICES[0]):
            loss = cross_entropy(forward(layers, whole, x, branch), y)
        # Places each gradient where its forward operation is; a tape would not.
        gradients = tf.gradients(loss, list(variables.values()))
        optimizer.apply(dict(zip(variables, gradients, strict=True)))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build)
