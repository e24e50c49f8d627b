"""Opens a Horovod case in a rank, on the engine the case names."""

from __future__ import annotations

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Imports one engine only."""
    if case.engine == "torch":
        from adapters.horovod.splits.torch_engine.session import open_engine
    else:
        from adapters.horovod.splits.tensorflow_engine.session import open_engine
    return open_engine(case, rank, weights, inputs)
