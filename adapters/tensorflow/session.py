"""Opens a TensorFlow case in its one process."""

from __future__ import annotations

from adapters.tensorflow.models.training import Training, open_devices
from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Configures devices and threads, then builds the strategy's session."""
    devices = open_devices(case, case.devices)
    return _session_class(case.strategy)(case, weights, inputs, devices)


def _session_class(strategy: str) -> type[Training]:
    if strategy == "data":
        from adapters.tensorflow.data import DataSession

        return DataSession
    if strategy == "intra_layer":
        from adapters.tensorflow.intra_layer import IntraLayerSession

        return IntraLayerSession
    if strategy == "inter_layer":
        from adapters.tensorflow.inter_layer import InterLayerSession

        return InterLayerSession
    return Training
