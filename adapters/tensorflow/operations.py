"""TensorFlow's operations for a calibration."""

from __future__ import annotations

from adapters.tensorflow.training.operations import TensorFlowOperations
from suite.contract.case import Case, Rank


def open_operations(case: Case, rank: Rank) -> TensorFlowOperations:
    """Returns the operations on all devices, which the link session has prepared."""
    kind = "CPU" if case.device == "cpu" else "GPU"
    devices = [f"/{kind}:{index}" for index in range(case.devices)]
    return TensorFlowOperations(devices, case.mode == "compiled")
