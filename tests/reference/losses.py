"""One rank that takes two steps of every plain script of a column, for the losses alone.

    python -m tests.reference.losses CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

The case's session opens the devices and the group, as in a comparison. The GPT has two blocks:
of four TensorFlow's graphs take twice as long to build. A rank that knows no loss records none.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import Any

from suite.spec.strategies import STRATEGIES
from suite.spec.workloads import initial_weights
from suite.worker import arrive, leave, load_inputs, write_atomically
from tests.reference import common
from tests.reference.__main__ import SIZES
from tests.reference.pair import Step, plain_step

STEPS, BLOCKS = 2, 2


def main() -> None:
    case, inputs_path, rank = arrive()
    common.BLOCKS = BLOCKS  # before the models are imported
    module = importlib.import_module(f"adapters.{case.framework}.session")
    weights = initial_weights(case.spec, case.seed)
    session = module.open_session(case, rank, weights, load_inputs(inputs_path, case))
    # Held until the process ends: freeing a DDP can wait for ever for gloo's threads.
    steps = {
        (workload, strategy): plain_step(replace(case, strategy=strategy, workload=workload))
        for workload in SIZES for strategy in STRATEGIES
    }
    losses = {" ".join(name): _losses(step) for name, step in steps.items()}
    session.close()
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps({"losses": losses}))
    leave()


def _losses(step: Step) -> list[float] | None:
    found: list[Any] = [step() for _ in range(STEPS)]
    return None if found[0] is None else [float(loss) for loss in found]


if __name__ == "__main__":
    main()
