"""A rank that trains, and then says how much of a core it uses while nothing is asked of it.

    python -m tests.real.idle CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

It is still in its group then. The share is in ``idle-N.json``.
"""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.files import write_atomically
from suite.contract.workloads import Weights
from suite.ranks.entry import arrive, last_words, leave, swift_start
from suite.ranks.train import load_inputs, run_rank

IDLE_S = 0.5


def main() -> None:
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"adapters.{case.framework}.session")

        def opened(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
            session: Any = module.open_session(case, rank, weights, inputs)
            close = session.close

            def idle_and_close() -> None:
                write_atomically(rank.folder / f"idle-{rank.index}.json", json.dumps(_idle_share()))
                close()

            session.close = idle_and_close
            return session

        _held = run_rank(case, rank, load_inputs(inputs_path, case), opened)
    leave()


def _idle_share() -> float:
    """Of a core that this process uses while it sleeps."""
    used = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - used) / IDLE_S


if __name__ == "__main__":
    main()
