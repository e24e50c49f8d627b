"""A framework's matrix-product rate is the one that the calibration finds on the same core."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from suite.contract.registry import traits_of
from suite.machine.calibration import THREADS, measure_cores
from suite.machine.devices import allowed_cores
from suite.machine.software import installed_version

PROGRAMS = {
    "pytorch": """
import torch
from adapters.pytorch.training.matmul_rate import matmul_flops_s
torch.set_num_threads(1)
rates = [matmul_flops_s(torch.device("cpu"), dtype) for dtype in ("float32", "bf16")]
""",
    "tensorflow": """
import tensorflow as tf
from adapters.tensorflow.training.matmul_rate import matmul_flops_s
tf.config.threading.set_intra_op_parallelism_threads(1)
rates = [matmul_flops_s("/cpu:0", lambda: None)]
""",
}


@pytest.mark.parametrize("framework", list(PROGRAMS))
def test_rate(framework: str) -> None:
    if not installed_version(traits_of(framework).distributions):
        pytest.skip(f"{framework} is not installed")
    core = allowed_cores()[0]
    program = f"import os\nos.sched_setaffinity(0, {{{core}}})\n{PROGRAMS[framework]}\nprint(rates)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=True, env=os.environ | THREADS)
    found = json.loads(done.stdout.splitlines()[-1])
    (expected,) = measure_cores([core])
    # Another library's product, on a machine that others use: no more than its order is known.
    assert expected.matmul_flops_s / 4 < found[0] < expected.matmul_flops_s * 4
    assert all(rate > 1e8 for rate in found)
