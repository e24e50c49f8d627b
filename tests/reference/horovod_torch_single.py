"""Horovod with one process: the plain loop, with Horovod's threads beside it."""

import horovod.torch as hvd
import torch

from tests.reference.common import report
from tests.reference.pytorch_single import build

__all__ = ["build"]

if __name__ == "__main__":
    torch.set_num_threads(1)
    hvd.init()
    report(build)
    hvd.shutdown()
