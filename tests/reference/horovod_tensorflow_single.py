"""Horovod with one process: the plain loop, with Horovod's threads beside it."""

import horovod.tensorflow as hvd
import tensorflow as tf

from tests.reference.common import report
from tests.reference.tensorflow_single import build

__all__ = ["build"]

if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
