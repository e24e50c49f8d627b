"""Horovod's operations for a calibration: those of its engine."""

from __future__ import annotations

from suite.contract.case import Case, Rank
from suite.contract.operations import Operations


def open_operations(case: Case, rank: Rank) -> Operations:
    """Imports one engine only."""
    compiled = case.mode == "compiled"
    if case.engine == "torch":
        from adapters.pytorch.training.operations import TorchOperations
        from adapters.pytorch.training.single import open_device

        return TorchOperations(open_device(case, rank), compiled)
    from adapters.tensorflow.training.operations import TensorFlowOperations

    return TensorFlowOperations(["/CPU:0" if case.device == "cpu" else "/GPU:0"], compiled)
