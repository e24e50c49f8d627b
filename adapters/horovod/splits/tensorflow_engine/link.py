"""Horovod's transport under the tensorflow engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.training.common import HorovodLink, ProcessSets, join
from adapters.tensorflow.training.single import open_devices
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call, Interval
from suite.contract.threads import native_threads, preferred_event_loops, schedule_event_loops


def open_engine(case: Case, rank: Rank) -> TensorFlowEngineLink:
    """Joins the group."""
    device = open_devices(case, 1)[0]
    sets = ProcessSets(hvd, rank.processes, [(0, 1)])
    # TensorFlow's threads start with its first operation; those after it are Horovod's.
    tf.zeros(()).numpy()
    before = native_threads()
    join(hvd, sets)
    started = native_threads() - before
    schedule_event_loops(started, preferred_event_loops(case.device))
    return TensorFlowEngineLink(case, rank, device, sets.of((0, 1)))


class TensorFlowEngineLink(HorovodLink):
    """Calls in graphs, as a step makes them, between two stamps of the host's clock."""

    def __init__(self, case: Case, rank: Rank, device: str, pair: Any) -> None:
        super().__init__(case, rank, hvd)
        self.device, self.pair = device, pair

    def barrier(self) -> None:
        """Returns when every rank is here."""
        hvd.allreduce(tf.constant(0), op=hvd.Min, name="barrier")

    def agree(self, ready: bool) -> bool:
        """Whether every rank says so; a collective call."""
        return bool(hvd.allreduce(tf.constant(int(ready)), op=hvd.Min, name="agree"))

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """A function that makes one call of that collective and payload, and times it."""
        if self.rank.index >= self.participants(kind):
            return lambda: ()
        elements = payload_bytes // ELEMENT_BYTES
        if kind == "all_gather":
            elements //= self.rank.processes
        with tf.device(self.device):
            tensor = tf.zeros(elements)
        operation = self._operation(kind, {"name": f"{kind}.{payload_bytes}"})

        @tf.function(autograph=False)
        def call(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            start = tf.timestamp()
            with tf.control_dependencies([start]), tf.device(self.device):
                last = operation(tf.identity(x))[-1]
            # Returned too: the graph drops a collective whose values nobody reads, whatever waits.
            with tf.control_dependencies([last]):
                return start, tf.timestamp(), last

        return lambda: _interval(call(tensor))

    def _operation(self, kind: str, named: dict[str, str]) -> Callable[[tf.Tensor], tf.Tensor]:
        operations: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
            "all_reduce": lambda x: hvd.allreduce(x, op=hvd.Sum, ignore_name_scope=True, **named),
            "all_gather": lambda x: hvd.allgather(x, ignore_name_scope=True, **named),
            "reduce_scatter": lambda x: hvd.reducescatter(
                x, op=hvd.Sum, ignore_name_scope=True, **named
            ),
            "broadcast": lambda x: hvd.broadcast(
                x, 0, ignore_name_scope=True, process_set=self.pair, **named
            ),
        }
        return operations[kind]

    def close(self) -> None:
        """Leaves the process group, once every rank is ready to."""
        self.barrier()
        hvd.shutdown()


def _interval(stamps: tuple[tf.Tensor, ...]) -> list[Interval]:
    return [(0, float(stamps[0]), float(stamps[1]))]
