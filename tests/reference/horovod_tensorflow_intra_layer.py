"""Column- and row-split pairs with custom gradients around hvd.allreduce."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from tests.reference.common import BATCH, batch, report, weights
from tests.reference.tensorflow_adam import update


def build() -> Callable[[], object]:
    rank, size = hvd.rank(), hvd.size()
    variables = []
    for first, second in ((0, 1), (2, 3)):
        (w1, b1), (w2, b2) = weights()[first], weights()[second]
        mine = np.split(w1, size, 1)[rank], np.split(b1, size)[rank], np.split(w2, size, 0)[rank]
        variables += [tf.Variable(array) for array in (*mine, b2)]
    variables += [tf.Variable(array) for array in weights()[4]]
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
    count = tf.Variable(0.0)
    x, y = (tf.constant(array) for array in batch(BATCH))

    @tf.custom_gradient
    def enter(x: tf.Tensor):  # noqa: ANN201
        return tf.identity(x), lambda gradient: hvd.allreduce(gradient, op=hvd.Sum)

    @tf.custom_gradient
    def merge(part: tf.Tensor):  # noqa: ANN201
        return hvd.allreduce(part, op=hvd.Sum), lambda gradient: gradient

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            h = x
            for index in (0, 4):
                w1, b1, w2, b2 = variables[index : index + 4]
                hidden = tf.nn.gelu(tf.nn.bias_add(enter(h) @ w1, b1), approximate=True)
                h = tf.nn.gelu(tf.nn.bias_add(merge(hidden @ w2), b2), approximate=True)
            logits = tf.nn.bias_add(h @ variables[-2], variables[-1])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables)
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
