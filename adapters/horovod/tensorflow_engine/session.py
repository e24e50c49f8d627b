"""Opens a case of the tensorflow engine in a rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.common import ComputeClock, ledger, neighbour_sets, new_sets
from adapters.tensorflow.models.stamps import size_bytes
from adapters.tensorflow.models.training import Training, open_devices
from suite.spec.adapter import Inputs, Session, StepTrace
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_engine(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    devices = open_devices(case, 1, first=rank.index)
    # TensorFlow's threads start with its first operation; those after it are Horovod's.
    tf.zeros(()).numpy()
    clock = ComputeClock()
    sets = neighbour_sets(hvd, rank.processes) if case.strategy == "inter_layer" else []
    hvd.init(process_sets=new_sets(hvd, sets))
    clock.initialised()
    session = _session_class(case.strategy)
    session.rank, session.neighbours, session.clock = rank, sets, clock
    return session(case, weights, inputs, devices)


def _session_class(strategy: str) -> type[HorovodSession]:
    if strategy == "data":
        from adapters.horovod.tensorflow_engine.data import DataSession

        return DataSession
    if strategy == "intra_layer":
        from adapters.horovod.tensorflow_engine.intra_layer import IntraLayerSession

        return IntraLayerSession
    if strategy == "inter_layer":
        from adapters.horovod.tensorflow_engine.inter_layer import InterLayerSession

        return InterLayerSession
    return HorovodSession


class HorovodSession(Training):
    """A rank of a Horovod job; by itself the single strategy."""

    rank: Rank
    neighbours: list[Any]
    clock: ComputeClock

    def timed_step(self, index: int) -> StepTrace:
        if not hasattr(self, "probed"):
            super().timed_step(index)
        began = self.clock.seconds()
        trace = super().timed_step(index)
        if self.case.device == "cuda":
            return trace
        return replace(trace, compute_s=(self.clock.seconds() - began,))

    def sum(self, tensor: tf.Tensor, name: str) -> tf.Tensor:
        """All-reduce over the ranks, stamped where the graph holds stamps."""
        start = self.stamps.mark(tensor) if self.stamps.on else None
        total = hvd.allreduce(tensor, op=hvd.Sum, name=name, ignore_name_scope=True)
        if start is not None:
            self.stamps.add("all_reduce", 0, size_bytes(tensor), start, self.stamps.mark(total))
        return total

    def gather(self, held: Weights) -> list[Weights]:
        """Every rank's arrays."""
        return list(hvd.allgather_object(held))

    def describe(self) -> dict[str, str]:
        return super().describe() | ledger(self.case.strategy == "inter_layer")

    def close(self) -> None:
        # A rank that shuts down takes the others' last collective with it.
        self.gather({})
        hvd.shutdown()
