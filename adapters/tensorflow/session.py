"""Opens a TensorFlow case in its one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.tensorflow.models.training import Training, open_devices
from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.strategies import MULTI_WORKER
from suite.spec.workloads import Weights

if TYPE_CHECKING:
    from adapters.tensorflow.placement import PlacedSession


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Configures devices and threads, then builds the strategy's session."""
    if case.variant == MULTI_WORKER:
        from adapters.tensorflow.multi_worker import MultiWorkerSession

        # A worker's GPU is the one that its launch plan lets it see.
        return MultiWorkerSession(case, weights, inputs, open_devices(case, 1))
    devices = open_devices(case, case.devices)
    if "data" in case.axes.names and len(case.axes.axes) > 1:
        from adapters.tensorflow.towers import TowersSession, tower_case

        placed = _placed_class(tower_case(case, case.devices // case.axes.size("data")))
        return TowersSession(placed, case, weights, inputs, devices)
    return _session_class(case)(case, weights, inputs, devices)


def _session_class(case: Case) -> type[Training]:
    if case.strategy == "single":
        return Training
    if case.strategy == "data":
        from adapters.tensorflow.data import DataSession

        return DataSession
    return _placed_class(case)


def _placed_class(case: Case) -> type[PlacedSession]:
    if "inter_layer" in case.axes.names:
        from adapters.tensorflow.inter_layer import InterLayerSession

        return InterLayerSession
    from adapters.tensorflow.intra_layer import IntraLayerSession

    return IntraLayerSession
