"""Opens a TensorFlow case in its one process, or in one process of several."""

from __future__ import annotations

from adapters.tensorflow.training.single import Training, open_devices
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.driven import Driven
from suite.contract.session_table import session_class
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.workloads import Weights

SPLITS = "adapters.tensorflow.splits"
AXES = {
    "data": f"{SPLITS}.data:DataSession",
    "intra_layer": f"{SPLITS}.intra_layer:IntraLayerSession",
    "inter_layer": f"{SPLITS}.inter_layer:InterLayerSession",
}
# Variants that have a session of their own.
VARIANTS = {MULTI_WORKER: f"{SPLITS}.multi_worker:MultiWorkerSession"}


def open_session(
    case: Case, rank: Rank, weights: Weights, inputs: Inputs
) -> Session | Driven:
    """Configures devices and threads, then builds the session of the case's strategy.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is; TF_CONFIG tells TensorFlow the same.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
    """
    if case.variant in VARIANTS:
        # The launch plan lets a worker see only its own GPU.
        return session_class(VARIANTS, case.variant)(case, weights, inputs, open_devices(case, 1))
    if case.hosts > 1:
        return _spanning(case, rank, weights, inputs)
    devices = open_devices(case, case.devices)
    if case.strategy == "single":
        return Training(case, weights, inputs, devices)
    outer, *inner = case.axes.names
    if not inner:
        return session_class(AXES, outer)(case, weights, inputs, devices)
    return _towers(case, weights, inputs, devices)


def _spanning(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session | Driven:
    """Builds the session that places operations on all hosts, or one that serves its device."""
    if rank.index:
        from adapters.tensorflow.splits.served import ServedSession

        return ServedSession(case, rank)
    from adapters.tensorflow.splits.spanning import open_spanning

    return open_spanning(case, weights, inputs)


def _towers(case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> Session:
    """Builds a session whose replicas are split themselves: each is a tower of its own devices."""
    from adapters.tensorflow.splits.towers import TowersSession, tower_case

    tower = tower_case(case, case.devices // case.axes.size("data"))
    (axis,) = tower.axes.names
    return TowersSession(session_class(AXES, axis), case, weights, inputs, devices)
