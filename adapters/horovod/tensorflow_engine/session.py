"""Opens a case of the tensorflow engine in a rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from adapters.horovod.common import (
    ComputeClock,
    end_set,
    gather_arrays,
    ledger,
    neighbour_sets,
    new_sets,
)
from adapters.horovod.tensorflow_engine.sampling import SampledClock
from adapters.tensorflow.models.stamps import size_bytes
from adapters.tensorflow.models.training import Training, open_devices
from suite.spec.adapter import Busy, Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_engine(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    devices = open_devices(case, 1, first=rank.index)
    # TensorFlow's threads start with its first operation; those after it are Horovod's.
    tf.zeros(()).numpy()
    clock = ComputeClock()
    staged = case.strategy == "inter_layer"
    sets = neighbour_sets(hvd, rank.processes) if staged else []
    ends = end_set(hvd, case.spec, rank.processes) if staged else None
    hvd.init(process_sets=new_sets(hvd, [*sets, ends]))
    clock.initialised()
    session = _session_class(case.strategy)
    session.rank, session.neighbours, session.ends, session.clock = rank, sets, ends, clock
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
    ends: Any
    clock: ComputeClock

    def clocked(self, run: Callable[[], None]) -> Sequence[Busy]:
        if self.case.device == "cuda":
            return super().clocked(run)
        with SampledClock(self.clock) as sampled:
            run()
        return (sampled.points,)

    def agree(self, ready: bool) -> bool:
        return bool(hvd.allreduce(tf.constant(int(ready)), op=hvd.Min, name="agree"))

    def sum(self, tensor: tf.Tensor, name: str, over: Any = hvd.global_process_set) -> tf.Tensor:
        """All-reduce over the ranks of a process set, stamped where the graph holds stamps."""
        if self.silent:
            return tensor
        start = self.stamps.mark(0, [tensor]) if self.stamps.on else None
        total = hvd.allreduce(
            tensor, op=hvd.Sum, name=name, ignore_name_scope=True, process_set=over
        )
        if start is not None:
            end = self.stamps.mark(0, [total])
            self.stamps.member("all_reduce", name, 0, size_bytes(tensor), start, end)
        return total

    def gather(self, held: Weights) -> list[Weights]:
        """Every rank's arrays."""
        def flat(array: np.ndarray) -> np.ndarray:
            return np.asarray(hvd.allgather(tf.constant(array), name="gather"))

        return gather_arrays(held, hvd.allgather_object, flat)

    def describe(self) -> dict[str, str]:
        return super().describe() | ledger(self.case)

    def close(self) -> None:
        # A rank that shuts down takes the others' last collective with it.
        hvd.allgather_object(None)
        hvd.shutdown()
