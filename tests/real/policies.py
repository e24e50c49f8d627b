"""A rank that trains, and then says which of its threads give way to those that compute.

    python -m tests.real.policies CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

``policies-N.json`` has the policies of the threads of the hops, and of those whose collectives a
stage only waits for.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Collection
from typing import Any

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.files import write_atomically
from suite.contract.workloads import Weights
from suite.ranks.entry import arrive, last_words, leave, swift_start
from suite.ranks.train import load_inputs, run_rank


def main() -> None:
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"adapters.{case.framework}.session")

        def opened(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
            session: Any = module.open_session(case, rank, weights, inputs)
            awaited = set(session.awaited)
            hops = session.communicating - awaited
            found = {"hops": policies(hops), "awaited": policies(awaited)}
            write_atomically(rank.folder / f"policies-{rank.index}.json", json.dumps(found))
            return session

        _held = run_rank(case, rank, load_inputs(inputs_path, case), opened)
    leave()


def policies(threads: Collection[int]) -> list[int]:
    """The different ones among these threads."""
    return sorted({os.sched_getscheduler(thread) for thread in threads})


if __name__ == "__main__":
    main()
