"""Manual placement: two groups of layers on two logical CPU devices, four micro-batches."""

from collections.abc import Callable

import tensorflow as tf

from tests.reference.common import BATCH, batch, report, weights
from tests.reference.tensorflow_adam import update

DEVICES, PARTS = ["/CPU:0", "/CPU:1"], 4


def build() -> Callable[[], object]:
    stages, slots = [], []
    for device, group in zip(DEVICES, (weights()[:2], weights()[2:]), strict=True):
        with tf.device(device):
            stages.append([tf.Variable(array) for pair in group for array in pair])
            zeros = [[tf.Variable(tf.zeros_like(v)) for v in stages[-1]] for _ in range(2)]
            slots.append(list(zip(*zeros, strict=True)))
    count = tf.Variable(0.0)
    x, y = (tf.constant(array) for array in batch(BATCH))

    def compute(stage: int, h: tf.Tensor) -> tf.Tensor:
        held = stages[stage]
        for index in range(0, len(held), 2):
            h = tf.nn.bias_add(h @ held[index], held[index + 1])
            if stage == 0 or index < len(held) - 2:
                h = tf.nn.gelu(h, approximate=True)
        return h

    def add(total: list[tf.Tensor], found: list[tf.Tensor]) -> list[tf.Tensor]:
        return [a + b for a, b in zip(total, found, strict=True)] if total else found

    @tf.function
    def step() -> tf.Tensor:
        busy: list[list[tf.Tensor]] = [[], []]  # one thing at a time, in GPipe's order
        tapes, outputs, losses = [], [], []
        sums: list[list[tf.Tensor]] = [[], []]
        for part in range(PARTS):
            features, labels = tf.split(x, PARTS)[part], tf.split(y, PARTS)[part]
            device, before = tf.device(DEVICES[0]), tf.control_dependencies(busy[0])
            with device, before, tf.GradientTape() as tape0:
                h = compute(0, features)
            busy[0] = [h]
            device, before = tf.device(DEVICES[1]), tf.control_dependencies(busy[1])
            with device, before, tf.GradientTape() as tape1:
                tape1.watch(h)
                logits = compute(1, h)
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
                losses.append(tf.reduce_mean(each) / PARTS)
            busy[1] = [losses[-1]]
            tapes.append((tape0, tape1))
            outputs.append(h)
        for (tape0, tape1), h, loss in zip(tapes, outputs, losses, strict=True):
            with tf.device(DEVICES[1]), tf.control_dependencies(busy[1]):
                found, back = tape1.gradient(loss, (stages[1], h))
                busy[1] = sums[1] = add(sums[1], found)
            with tf.device(DEVICES[0]), tf.control_dependencies(busy[0]):
                busy[0] = sums[0] = add(sums[0], tape0.gradient(h, stages[0], back))
        count.assign_add(1.0)
        powers = 0.9**count, 0.999**count
        for stage, device in enumerate(DEVICES):
            with tf.device(device):
                for v, (m, s), g in zip(stages[stage], slots[stage], sums[stage], strict=True):
                    update(v, m, s, g, *powers)
        return tf.add_n(losses)

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build())
