"""A rank that trains as every rank does, in a session that a test looks at."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights
from suite.ranks.entry import arrive, last_words, leave, swift_start
from suite.ranks.train import load_inputs, run_rank


def train(watch: Callable[[Any, Rank], None]) -> None:
    """Trains the case of the process's arguments; ``watch`` gets the session once it is open."""
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"adapters.{case.framework}.session")

        def opened(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
            session: Session = module.open_session(case, rank, weights, inputs)
            watch(session, rank)
            return session

        _held = run_rank(case, rank, load_inputs(inputs_path, case), opened)
    leave()
