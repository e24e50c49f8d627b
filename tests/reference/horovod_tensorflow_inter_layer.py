"""Two stages, four micro-batches; broadcasts between two ranks stand in for sends."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import tensorflow as tf

from tests.reference.common import BATCH, WIDTHS, batch, report, weights
from tests.reference.tensorflow_adam import update

PARTS = 4


def build() -> Callable[[], object]:
    rank = hvd.rank()
    mine = weights()[:2] if rank == 0 else weights()[2:]
    variables = [tf.Variable(array) for pair in mine for array in pair]
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
    count, sink = tf.Variable(0.0), tf.Variable(0.0)
    blanks = tf.Variable(tf.zeros((PARTS, BATCH // PARTS, WIDTHS[2])))
    x, y = (tf.constant(array) for array in batch(BATCH))

    def compute(h: tf.Tensor) -> tf.Tensor:
        for index in range(0, len(variables), 2):
            h = tf.nn.bias_add(h @ variables[index], variables[index + 1])
            if rank == 0 or index < len(variables) - 2:
                h = tf.nn.gelu(h, approximate=True)
        return h

    def hop(tensor: tf.Tensor, sender: int, name: str) -> tf.Tensor:
        moved = hvd.broadcast(tensor, sender, name=name, ignore_name_scope=True)
        if sender == rank:
            sink.assign(moved[0, 0])  # unless a value is used the broadcast is pruned
        return moved

    @tf.function
    def step() -> None:
        busy: list[tf.Tensor] = []  # GPipe's order: all forwards, then all backwards
        flying: list[tuple] = []
        totals: list[tf.Tensor] = []
        for part in range(PARTS):
            features, labels = tf.split(x, PARTS)[part], tf.split(y, PARTS)[part]
            if rank == 1:
                features = hop(blanks[part], 0, f"there{part}")
            with tf.control_dependencies(busy):
                features = tf.identity(features)
            with tf.GradientTape() as tape:
                tape.watch(features)
                out = compute(features)
                if rank == 1:
                    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=out)
                    out = tf.reduce_mean(each) / PARTS
            busy = [out]
            flying.append((tape, features, out))
            if rank == 0:
                hop(out, 0, f"there{part}")
        for part, (tape, features, out) in enumerate(flying):
            seed = hop(blanks[part], 1, f"back{part}") if rank == 0 else tf.ones_like(out)
            with tf.control_dependencies(busy):
                seed = tf.identity(seed)
            sources = variables if rank == 0 else [*variables, features]
            found = tape.gradient(out, sources, seed)
            if rank == 1:
                hop(found.pop(), 1, f"back{part}")
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
            busy = totals
        count.assign_add(1.0)
        powers = 0.9**count, 0.999**count
        for v, (m, s), gradient in zip(variables, slots, totals, strict=True):
            update(v, m, s, gradient, *powers)

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build())
    hvd.shutdown()
