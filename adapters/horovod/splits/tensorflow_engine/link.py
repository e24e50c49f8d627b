"""Measures Horovod's transport under the tensorflow engine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.training.common import HorovodLink, ProcessSets, join
from adapters.tensorflow.training.single import open_devices
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call, Interval
from suite.contract.threads import native_threads


def open_engine(case: Case, rank: Rank) -> TensorFlowEngineLink:
    """Joins the group and returns the link session of this rank."""
    device = open_devices(case, 1)[0]
    sets = ProcessSets(hvd, rank.processes, [(0, 1)])
    # The first operation starts TensorFlow's threads, so threads that start later are Horovod's.
    tf.zeros(()).numpy()
    before = native_threads()
    join(hvd, sets, case, rank)
    started = native_threads() - before
    return TensorFlowEngineLink(case, rank, device, sets.of((0, 1)), started)


class TensorFlowEngineLink(HorovodLink):
    """Makes each call in a graph, as a step does, between two readings of the host's clock."""

    def __init__(
        self, case: Case, rank: Rank, device: str, pair: Any, started: Collection[int]
    ) -> None:
        super().__init__(case, rank, hvd, started)
        self.device, self.pair = device, pair

    def barrier(self) -> None:
        """Waits until every rank has called it."""
        hvd.allreduce(tf.constant(0), op=hvd.Min, name="barrier")

    def agree(self, ready: bool) -> bool:
        """Returns whether every rank is ready; every rank must call it."""
        return bool(hvd.allreduce(tf.constant(int(ready)), op=hvd.Min, name="agree"))

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Prepares a call of a collective.

        Args:
            Kind: The collective, such as ``all_reduce``.
            payload_bytes: The bytes of the whole tensor; of an all-gather, those of its result.

        Returns:
            A function that makes the call once and returns when it began and ended; it does nothing
            on ranks that do not take part.
        """
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
            # The result is returned as well. A graph drops a collective whose result nobody reads,
            # even if other operations wait for it.
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
        """Leaves the group once every rank is ready to."""
        self.barrier()
        hvd.shutdown()


def _interval(stamps: tuple[tf.Tensor, ...]) -> list[Interval]:
    return [(0, float(stamps[0]), float(stamps[1]))]
