"""Manual placement: two groups of layers on two logical CPU devices, four micro-batches."""

from collections.abc import Callable

import tensorflow as tf

from tests.reference.common import PARTS, RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    Gradients,
    add_gradients,
    forward,
    loss_of,
    make_stage,
    tensors,
    tied,
)

DEVICES = ["/CPU:0", "/CPU:1"]


def build(workload: str = "mlp") -> Callable[[], object]:
    stages, variables = [], []
    ends, cross_entropy = tied(workload), loss_of(workload)
    for index, device in enumerate(DEVICES):
        layers, weights = make_stage(workload, index)
        own = weights.keys() - (set(ends) if index else set())  # those the first device has
        with tf.device(device):
            variables.append({name: tf.Variable(weights[name]) for name in weights if name in own})
        stages.append(layers)
    optimizer = Adam(variables[0] | variables[1], RATE[workload])
    x, y = tensors(workload)

    @tf.function
    def step() -> tf.Tensor:
        with tf.device(DEVICES[1]):
            copies = {name: tf.identity(variables[0][name]) for name in ends}
        weights = variables[0], variables[1] | copies
        busy: list[list[tf.Tensor]] = [[], []]  # one thing at a time, in GPipe's order
        tapes, outputs, losses = [], [], []
        sums: list[Gradients] = [{}, {}]
        for features, labels in zip(tf.split(x, PARTS), tf.split(y, PARTS), strict=True):
            device, before = tf.device(DEVICES[0]), tf.control_dependencies(busy[0])
            with device, before, tf.GradientTape() as tape0:
                h = forward(stages[0], weights[0], features)
            busy[0] = [h]
            device, before = tf.device(DEVICES[1]), tf.control_dependencies(busy[1])
            with device, before, tf.GradientTape() as tape1:
                tape1.watch([h, *copies.values()])
                out = forward(stages[1], weights[1], h, features=features)
                losses.append(cross_entropy(out, labels) / PARTS)
            busy[1] = [losses[-1]]
            tapes.append((tape0, tape1))
            outputs.append(h)
        for (tape0, tape1), h, loss in zip(tapes, outputs, losses, strict=True):
            with tf.device(DEVICES[1]), tf.control_dependencies(busy[1]):
                found, back = tape1.gradient(loss, (weights[1], h))
                sums[1] = add_gradients(sums[1], found)
            with tf.device(DEVICES[0]), tf.control_dependencies(busy[0]):
                sums[0] = add_gradients(sums[0], tape0.gradient(h, weights[0], back))
            busy = [list(each.values()) for each in sums]
        with tf.device(DEVICES[0]):
            sums[0] |= {name: sums[0][name] + sums[1].pop(name) for name in copies}
        optimizer.apply(sums[0] | sums[1])
        return tf.add_n(losses)

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build)
