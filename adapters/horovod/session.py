"""Opens the session of a Horovod case in a rank, on the engine of the case."""

from __future__ import annotations

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Opens the session of a rank; imports only the engine that the case names.

    Args:
        Case: The case.
        rank: The place of this rank.
        weights: The initial weights by canonical name.
        inputs: The global batches.
    """
    if case.engine == "torch":
        from adapters.horovod.splits.torch_engine.session import open_engine
    else:
        from adapters.horovod.splits.tensorflow_engine.session import open_engine
    return open_engine(case, rank, weights, inputs)
