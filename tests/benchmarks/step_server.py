"""Opens a case in this process and runs one step for each line on standard input.

    python -m tests.benchmarks.step_server CASE_JSON INPUTS_NPZ
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.workloads import initial_weights


def main() -> None:
    case = Case.read(Path(sys.argv[1]))
    with np.load(sys.argv[2]) as arrays:
        inputs = Inputs(arrays["features"], arrays["targets"], case.spec.global_batch)
    module = importlib.import_module(f"adapters.{case.framework}.session")
    rank = Rank(0, 1, Path(sys.argv[1]).parent)
    session = module.open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    for index in range(20):
        session.step(index)
    print("ready", flush=True)
    for index, _ in enumerate(sys.stdin):
        session.step(index)
        session.synchronize()
        print("done", flush=True)


if __name__ == "__main__":
    main()
