"""DistributedGradientTape in one tf.function."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import tensorflow as tf

from tests.reference.common import BATCH, batch, report, weights
from tests.reference.tensorflow_adam import update


def build() -> Callable[[], object]:
    variables = [tf.Variable(array) for pair in weights() for array in pair]
    hvd.broadcast_variables(variables, root_rank=0)
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
    count = tf.Variable(0.0)
    x, y = (tf.split(tf.constant(array), hvd.size())[hvd.rank()] for array in batch(BATCH))

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            h = x
            for index in range(0, len(variables), 2):
                h = tf.nn.bias_add(h @ variables[index], variables[index + 1])
                if index < len(variables) - 2:
                    h = tf.nn.gelu(h, approximate=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=h)
            loss = tf.reduce_mean(losses)
        gradients = hvd.DistributedGradientTape(tape).gradient(loss, variables)
        count.assign_add(1.0)
        powers = 0.9**count, 0.999**count
        for v, (m, s), gradient in zip(variables, slots, gradients, strict=True):
            update(v, m, s, gradient, *powers)
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build())
    hvd.shutdown()
