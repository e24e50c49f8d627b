"""Opens the session of a case on the tensorflow engine."""

from __future__ import annotations

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.horovod.training.autotuner import settled
from adapters.horovod.training.common import (
    ComputeClock,
    ProcessSets,
    join,
    shared_by,
)
from adapters.tensorflow.training.single import open_devices
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.session_table import combined_class
from suite.contract.threads import preferred_event_loops, schedule_event_loops
from suite.contract.workloads import Weights

SPLITS = "adapters.horovod.splits.tensorflow_engine"
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
    devices = open_devices(case, 1)
    # The first operation starts TensorFlow's threads, so threads that start later are Horovod's.
    tf.zeros(()).numpy()
    clock = ComputeClock()
    sets = ProcessSets(hvd, rank.processes, shared_by(case))
    join(hvd, sets, case, rank)
    clock.initialised()
    session = _class_of(case)
    session.rank, session.sets, session.clock = rank, sets, clock
    session.event_loops = schedule_event_loops(
        clock.communicating, preferred_event_loops(case.device, case.axes.names)
    )
    return settled(case, rank, hvd, lambda: session(case, weights, inputs, devices))


def _class_of(case: Case) -> type[HorovodSession]:
    return combined_class(AXES, case.axes.names) if case.axes.names else HorovodSession
