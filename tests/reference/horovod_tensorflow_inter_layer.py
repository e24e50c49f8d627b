"""Two stages, four micro-batches; broadcasts between two ranks stand in for sends."""

from collections.abc import Callable

import horovod.tensorflow as hvd
import tensorflow as tf

from tests.reference.common import PARTS, RATE, report
from tests.reference.tensorflow_adam import Adam
from tests.reference.tensorflow_models import (
    Gradients,
    add_gradients,
    boundary,
    forward,
    loss_of,
    make_stage,
    tensors,
    tied,
)


def build(workload: str = "mlp") -> Callable[[], object]:
    rank, ends, cross_entropy = hvd.rank(), tied(workload), loss_of(workload)
    layers, weights = make_stage(workload, rank)
    variables = {name: tf.Variable(array) for name, array in weights.items()}
    optimizer, sink = Adam(variables, RATE[workload]), tf.Variable(0.0)
    blanks = tf.Variable(tf.zeros((PARTS, *boundary(workload))))
    x, y = tensors(workload)

    def hop(tensor: tf.Tensor, sender: int, name: str) -> tf.Tensor:
        moved = hvd.broadcast(tensor, sender, name=name, ignore_name_scope=True)
        if sender == rank:
            # Unless a value is used the broadcast is pruned.
            sink.assign(tf.reshape(moved, (-1,))[0])
        return moved

    @tf.function
    def step() -> tf.Tensor | None:
        busy: list[tf.Tensor] = []  # GPipe's order: all forwards, then all backwards
        flying: list[tuple] = []
        totals: Gradients = {}
        for part in range(PARTS):
            features, labels = tf.split(x, PARTS)[part], tf.split(y, PARTS)[part]
            entering = hop(blanks[part], 0, f"there{part}") if rank == 1 else features
            with tf.control_dependencies(busy):
                entering = tf.identity(entering)
            with tf.GradientTape() as tape:
                if rank == 1:
                    tape.watch(entering)
                out = forward(layers, variables, entering, features=features)
                if rank == 1:
                    out = cross_entropy(out, labels) / PARTS
            busy = [out]
            flying.append((tape, entering, out))
            if rank == 0:
                hop(out, 0, f"there{part}")
        for part, (tape, entering, out) in enumerate(flying):
            seed = hop(blanks[part], 1, f"back{part}") if rank == 0 else tf.ones_like(out)
            with tf.control_dependencies(busy):
                seed = tf.identity(seed)
            sources = variables if rank == 0 else variables | {"": entering}
            found = tape.gradient(out, sources, seed)
            if rank == 1:
                hop(found.pop(""), 1, f"back{part}")
            totals = add_gradients(totals, found)
            busy = list(totals.values())
        for name in ends:
            totals[name] = hvd.allreduce(totals[name], op=hvd.Sum, name=f"tied.{name}")
        optimizer.apply(totals)
        return tf.add_n([out for _, _, out in flying]) if rank == 1 else None

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
