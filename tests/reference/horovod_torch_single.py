"""Horovod with one process."""

import horovod.torch as hvd

hvd.init()
import pytorch_single  # noqa: E402, F401 - the plain loop, with Horovod's threads beside it
