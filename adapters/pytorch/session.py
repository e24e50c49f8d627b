"""Opens a PyTorch case in a rank."""

from __future__ import annotations

from adapters.pytorch.splits.group import GroupSession, join_group
from adapters.pytorch.training.single import Training, open_device
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.session_table import combined_class, session_class
from suite.contract.threads import native_threads, preferred_event_loops, schedule_event_loops
from suite.contract.workloads import Weights

SPLITS = "adapters.pytorch.splits"
# Axis -> session. In a mesh the stages of a pipeline are wrapped for data parallel, and the
# replicas are split into shards; torchtitan applies the splits in this order too.
AXES = {
    "inter_layer": f"{SPLITS}.inter_layer:InterLayerSession",
    "data": f"{SPLITS}.data:DataSession",
    "intra_layer": f"{SPLITS}.intra_layer:IntraLayerSession",
}
# Variants that have a session of their own.
VARIANTS = {
    "zero1": f"{SPLITS}.sharded_optimizer:ShardedOptimizerSession",
    "zero2": f"{SPLITS}.fully_sharded:FullyShardedSession",
    "fsdp": f"{SPLITS}.fully_sharded:FullyShardedSession",
}


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the process group and builds the session of the case's strategy.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
    """
    device = open_device(case, rank)
    if case.strategy == "single":
        return Training(case, rank, weights, inputs, device)
    before = native_threads()
    join_group(rank, device, case.oversubscribe)
    session = _class_of(case)(case, rank, weights, inputs, device)
    session.communicating = native_threads() - before
    if device.type == "cpu":
        awaited = set(session.awaited)
        session.event_loops = schedule_event_loops(
            session.communicating - awaited, preferred_event_loops(case.device, case.axes.names)
        )
        if awaited:
            schedule_event_loops(awaited)
    return session


def _class_of(case: Case) -> type[GroupSession]:
    if case.variant in VARIANTS:
        return session_class(VARIANTS, case.variant)
    return combined_class(AXES, case.axes.names)
