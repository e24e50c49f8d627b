"""MirroredStrategy on two logical CPU devices."""

from collections.abc import Callable

import tensorflow as tf

from tests.reference.common import BATCH, batch, report, weights
from tests.reference.tensorflow_adam import update


def build() -> Callable[[], object]:
    strategy = tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"])
    with strategy.scope():
        variables = [tf.Variable(array) for pair in weights() for array in pair]
        slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
        count = tf.Variable(0.0)
    x, y = batch(BATCH)
    half = strategy.experimental_distribute_values_from_function(
        lambda c: tuple(tf.split(tf.constant(a), 2)[c.replica_id_in_sync_group] for a in (x, y))
    )

    def replica(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            h = x
            for index in range(0, len(variables), 2):
                h = tf.nn.bias_add(h @ variables[index], variables[index + 1])
                if index < len(variables) - 2:
                    h = tf.nn.gelu(h, approximate=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=h)
            loss = tf.reduce_mean(losses)
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("MEAN", tape.gradient(loss, variables))
        context.merge_call(apply, args=(gradients,))
        return loss

    def apply(strategy: tf.distribute.Strategy, gradients: list) -> None:
        count.assign_add(1.0)
        powers = 0.9**count, 0.999**count
        for v, moments, gradient in zip(variables, slots, gradients, strict=True):
            strategy.extended.update(v, update, args=(*moments, gradient, *powers), group=False)

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("MEAN", strategy.run(replica, (x, y)), axis=None)

    return lambda: train(*half)


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build())
