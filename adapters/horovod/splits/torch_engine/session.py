"""Opens the session of a case on the torch engine."""

from __future__ import annotations

import horovod.torch as hvd

from adapters.horovod.splits.torch_engine.group import HorovodSession
from adapters.horovod.training.autotuner import settled
from adapters.horovod.training.common import (
    ProcessSets,
    join,
    shared_by,
)
from adapters.pytorch.training.single import open_device
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.session_table import combined_class
from suite.contract.threads import native_threads, preferred_event_loops, schedule_event_loops
from suite.contract.workloads import Weights

SPLITS = "adapters.horovod.splits.torch_engine"
AXES = {
    "inter_layer": f"{SPLITS}.inter_layer:InterLayerSession",
    "data": f"{SPLITS}.data:DataSession",
    "intra_layer": f"{SPLITS}.intra_layer:IntraLayerSession",
}


def open_engine(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the session of the case's strategy.

    Args:
        Case: The case.
        rank: The place of this rank.
        weights: The initial weights by canonical name.
        inputs: The global batches.
    """
    device = open_device(case, rank)
    sets = ProcessSets(hvd, rank.processes, shared_by(case))
    before = native_threads()
    join(hvd, sets, case, rank)
    session = _class_of(case)
    session.sets, session.communicating = sets, native_threads() - before
    session.event_loops = schedule_event_loops(
        session.communicating, preferred_event_loops(case.device, case.axes.names)
    )
    return settled(case, rank, hvd, lambda: session(case, rank, weights, inputs, device))


def _class_of(case: Case) -> type[HorovodSession]:
    return combined_class(AXES, case.axes.names) if case.axes.names else HorovodSession
