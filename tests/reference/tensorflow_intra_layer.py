"""Manual placement: pairs of layers split over two logical CPU devices, merged on the first."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.reference.common import BATCH, batch, report, weights
from tests.reference.tensorflow_adam import update


def build() -> Callable[[], object]:
    devices = ["/CPU:0", "/CPU:1"]
    whole, shards = [], []
    for first, second in ((0, 1), (2, 3)):
        (w1, b1), (w2, b2) = weights()[first], weights()[second]
        halves = [np.split(w1, 2, 1), np.split(b1, 2), np.split(w2, 2, 0)]
        for part, device in enumerate(devices):
            with tf.device(device):
                shards.append([tf.Variable(half[part]) for half in halves])
        with tf.device(devices[0]):
            whole.append(tf.Variable(b2))
    with tf.device(devices[0]):
        head = [tf.Variable(array) for array in weights()[4]]
    variables = [*whole, *head, *(v for shard in shards for v in shard)]
    slots = []
    for v in variables:
        with tf.device(v.device):
            slots.append((tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))))
    count = tf.Variable(0.0)
    with tf.device(devices[0]):
        x, y = (tf.constant(array) for array in batch(BATCH))

    @tf.function
    def step() -> tf.Tensor:
        h = x
        for pair in range(2):
            partial = []
            for part, device in enumerate(devices):
                with tf.device(device):
                    w1, b1, w2 = shards[2 * pair + part]
                    partial.append(tf.nn.gelu(tf.nn.bias_add(h @ w1, b1), approximate=True) @ w2)
            with tf.device(devices[0]):
                h = tf.nn.gelu(tf.nn.bias_add(tf.add_n(partial), whole[pair]), approximate=True)
        with tf.device(devices[0]):
            logits = tf.nn.bias_add(h @ head[0], head[1])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
            loss = tf.reduce_mean(losses)
        gradients = tf.gradients(loss, variables)
        count.assign_add(1.0)
        powers = 0.9**count, 0.999**count
        for v, (m, s), gradient in zip(variables, slots, gradients, strict=True):
            with tf.device(v.device):
                update(v, m, s, gradient, *powers)
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build())
