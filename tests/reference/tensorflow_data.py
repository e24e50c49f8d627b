"""MirroredStrategy on two logical CPU devices."""

from collections.abc import Callable

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
    # Not the default, rings of collectives: between CPUs of one process these take longer.
    to_one = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"], to_one)
    with strategy.scope():
        variables = {name: tf.Variable(array) for name, array in make_weights(layers).items()}
        optimizer = Adam(variables, RATE[workload])
    whole = tensors(workload)
    half = strategy.experimental_distribute_values_from_function(
        lambda context: tuple(tf.split(t, 2)[context.replica_id_in_sync_group] for t in whole)
    )

    def replica(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(forward(layers, variables, x), y)
        found = tape.gradient(loss, variables)
        dense = {name: tf.convert_to_tensor(gradient) for name, gradient in found.items()}
        context = tf.distribute.get_replica_context()
        context.merge_call(apply, args=(context.all_reduce("MEAN", dense),))
        return loss

    def apply(strategy: tf.distribute.Strategy, gradients: dict[str, tf.Tensor]) -> None:
        powers = optimizer.next_powers()
        for name, gradient in gradients.items():
            arguments = (*optimizer.slots[name], gradient, *powers)
            strategy.extended.update(variables[name], optimizer.update, arguments, group=False)

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("MEAN", strategy.run(replica, (x, y)), axis=None)

    return lambda: train(*half)


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    report(build)
