"""Opens Horovod's transport for a sweep of links, on the engine of the case."""

from __future__ import annotations

from suite.contract.case import Case, Rank
from suite.contract.sweep import LinkSession


def open_link(case: Case, rank: Rank) -> LinkSession:
    """Opens the link session of a rank; imports only the engine that the case names."""
    if case.engine == "torch":
        from adapters.horovod.splits.torch_engine.link import open_engine as open_torch

        return open_torch(case, rank)
    from adapters.horovod.splits.tensorflow_engine.link import open_engine as open_tensorflow

    return open_tensorflow(case, rank)
