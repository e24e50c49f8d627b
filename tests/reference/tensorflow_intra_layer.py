"""Manual placement: pairs of layers split over two logical CPU devices, merged on the first."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.reference.common import RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    Part,
    Shards,
    forward,
    loss_of,
    make_layers,
    make_weights,
    split_axes,
    tensors,
)

DEVICES = ["/CPU:0", "/CPU:1"]


class Placed(Shards):
    """A shard on each device."""

    def copies(self, x: tf.Tensor) -> list[tf.Tensor]:
        return [_on(device, tf.identity, x) for device in DEVICES]

    def each(self, part: Part, *inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        arguments = zip(DEVICES, self.weights, *inputs, strict=True)
        return [_on(device, part, *rest) for device, *rest in arguments]

    def total(self, partial: list[tf.Tensor]) -> tf.Tensor:
        return _on(DEVICES[0], tf.add_n, partial)


def _on(device: str, part: Part, *arguments: Any) -> tf.Tensor:
    with tf.device(device):
        return part(*arguments)


def build(workload: str = "mlp") -> Callable[[], object]:
    layers, cross_entropy = make_layers(workload), loss_of(workload)
    weights, axes = make_weights(layers), split_axes(layers)
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
    placed = Placed(*shards)
    optimizer = Adam(variables, RATE[workload])

    @tf.function
    def step() -> tf.Tensor:
        with tf.device(DEVICES[0]):
            loss = cross_entropy(forward(layers, whole, x, placed), y)
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
