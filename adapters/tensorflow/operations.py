"""TensorFlow's operations for a calibration."""

from __future__ import annotations

from adapters.tensorflow.training.operations import TensorFlowOperations
from suite.contract.case import Case, Rank


def open_operations(case: Case, rank: Rank) -> TensorFlowOperations:
    """Returns the operations on the first device; the link session has prepared all."""
    device = "/CPU:0" if case.device == "cpu" else "/GPU:0"
    return TensorFlowOperations(device, case.mode == "compiled")
