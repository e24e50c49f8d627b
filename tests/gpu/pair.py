"""A rank in which the adapter's session and the plain loop of the same model take turns.

    python -m tests.gpu.pair CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES
"""

from __future__ import annotations

import importlib
import json

from suite.contract.files import write_atomically
from suite.contract.workloads import initial_weights
from suite.ranks.entry import arrive, leave
from suite.ranks.train import load_inputs
from tests.gpu import plain
from tests.reference.pair import adapter_step, alternate


def main() -> None:
    case, inputs_path, rank = arrive()
    module = importlib.import_module(f"adapters.{case.framework}.session")
    inputs = load_inputs(inputs_path, case)
    session = module.open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    beside = plain.build(case, inputs.at(0), session.device)
    record = {"rank": rank.index, "blocks": [], "matmul_flops_s": session.matmul_flops_s()}
    if beside is not None:
        record["blocks"] = alternate(case, adapter_step(session), beside, session.agree)
    session.close()
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))
    leave()


if __name__ == "__main__":
    main()
