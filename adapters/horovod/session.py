"""Opens a Horovod case in a rank, on the engine the case names."""

from __future__ import annotations

from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Imports one engine only."""
    if case.engine == "torch":
        from adapters.horovod.torch_engine.session import open_engine
    else:
        from adapters.horovod.tensorflow_engine.session import open_engine
    return open_engine(case, rank, weights, inputs)
