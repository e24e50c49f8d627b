"""Horovod with one process."""

import horovod.tensorflow as hvd
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
hvd.init()
import tensorflow_single  # noqa: E402, F401 - the plain loop, with Horovod's threads beside it
