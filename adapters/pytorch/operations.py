"""PyTorch's operations for a calibration."""

from __future__ import annotations

from adapters.pytorch.training.operations import TorchOperations
from adapters.pytorch.training.single import open_device
from suite.contract.case import Case, Rank


def open_operations(case: Case, rank: Rank) -> TorchOperations:
    """Returns the operations on this rank's device."""
    return TorchOperations(open_device(case, rank), case.mode == "compiled")
