"""One rank that takes two steps of every plain script of a column, for the losses alone.

    python -m tests.reference.losses CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

The case's session opens the devices and the group, as in a comparison. Models have few blocks:
TensorFlow's graphs of all take twice as long to build. A rank that knows no loss records none. Also
recorded are the numbers of entries of the whole models' parameters.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import Any

from suite.contract.case import Case
from suite.contract.files import write_atomically
from suite.contract.splits.strategies import STRATEGIES
from suite.contract.workloads import initial_weights
from suite.ranks.entry import arrive, leave
from suite.ranks.train import load_inputs
from tests.reference import common
from tests.reference.__main__ import SIZES
from tests.reference.pair import Step, plain_step, script_name

STEPS, GROUPS = 2, 2
BLOCKS = {"gpt": 2, "bert": 2, "xlnet": 2, "resnet": 2, "efficientnet": 3}
CUT = dict.fromkeys(BLOCKS, 2)
# At their own rates half of a block's gradient moved the second loss by less than 1e-5.
HURRIED = ("gpt", "bert", "xlnet", "efficientnet")
# Horovod's scripts take the other columns' models: tied ends and batch norm try what is their own.
WORKLOADS = dict.fromkeys(("pytorch", "tensorflow"), tuple(SIZES)) | {
    "horovod": ("mlp", "gpt", "resnet")
}
NORMALISED = ("resnet", "efficientnet")  # by the batch at hand


def main() -> None:
    case, inputs_path, rank = arrive()
    # Before the scripts are imported. As many micro-batches as replicas: the same groups.
    common.SIDE, common.PARTS = 32, GROUPS
    module = importlib.import_module(f"adapters.{case.framework}.session")
    weights = initial_weights(case.spec, case.seed)
    session = module.open_session(case, rank, weights, load_inputs(inputs_path, case))
    workloads = WORKLOADS[case.framework]
    sizes = {workload: _parameter_sizes(case.engine, workload) for workload in workloads}
    common.BLOCKS.update(BLOCKS)
    common.CUT.update(CUT)
    common.RATE.update({name: 10 * common.RATE[name] for name in HURRIED})
    # Held until the process ends: freeing a DDP can wait for ever for gloo's threads.
    steps = {
        (workload, strategy): plain_step(replace(case, strategy=strategy, workload=workload))
        for workload in workloads for strategy in STRATEGIES
    }
    losses = {" ".join(name): _losses(step) for name, step in steps.items()}
    losses |= {
        f"{workload} grouped": _losses(_grouped(case, workload))
        for workload in workloads if workload in NORMALISED
    }
    session.close()
    record = {"rank": rank.index, "losses": losses, "sizes": sizes}
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))
    leave()


def _grouped(case: Case, workload: str) -> Step:
    """The single device's, of groups of samples that batch norm sees by themselves."""
    name = script_name(replace(case, strategy="single"))
    step: Step = importlib.import_module(f"tests.reference.{name}").build(workload, GROUPS)
    return step


def _parameter_sizes(engine: str, workload: str) -> list[int]:
    if engine == "torch":
        from tests.reference.torch_models import make_model

        return [parameter.numel() for parameter in make_model(workload).parameters()]
    from tests.reference.tensorflow_models import make_layers, make_weights

    return [array.size for array in make_weights(make_layers(workload)).values()]


def _losses(step: Step) -> list[float] | None:
    found: list[Any] = [step() for _ in range(STEPS)]
    return None if found[0] is None else [float(loss) for loss in found]


if __name__ == "__main__":
    main()
