"""Measures TensorFlow's transport between the devices that one process drives."""

from __future__ import annotations

import tensorflow as tf

from adapters.tensorflow.spanning_link import ServedLink, SpanningLink
from adapters.tensorflow.training.single import open_devices
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call, LinkSession


def open_link(case: Case, rank: Rank) -> LinkSession:
    """Configures the devices: all belong to this process, or over hosts each to one of its own."""
    if case.hosts > 1:
        return ServedLink(case, rank) if rank.index else SpanningLink(case)
    return TensorFlowLink(case, open_devices(case, case.devices))


class TensorFlowLink:
    """Makes calls in graphs, as a step makes them, between two stamps of the host's clock."""

    backend = "in-process"

    def __init__(self, case: Case, devices: list[str]) -> None:
        self.case, self.devices = case, devices
        self.transport = "shared-pool" if case.device == "cpu" else "cuda"
        # The data-parallel session makes the same choice: this reduction on CPUs, NCCL on GPUs.
        reduction = tf.distribute.ReductionToOneDevice() if case.device == "cpu" else None
        self.strategy = tf.distribute.MirroredStrategy(devices, reduction)

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call."""
        return 2 if kind == "send_recv" else len(self.devices)

    def barrier(self) -> None:
        """Returns once the devices are idle; there is only one rank."""
        if self.case.device == "cuda":
            tf.test.experimental.sync_devices()

    def agree(self, ready: bool) -> bool:
        """Returns ``ready``, since there is only one rank."""
        return ready

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Returns a function that makes one call of that collective and payload, and times it."""
        elements = payload_bytes // ELEMENT_BYTES
        return self._all_reduce(elements) if kind == "all_reduce" else self._send_recv(elements)

    def _all_reduce(self, elements: int) -> Call:
        """Prepares MirroredStrategy's own reduction, which gives an interval for each device."""

        def replica(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            start = tf.timestamp()
            with tf.control_dependencies([start]):
                x = tf.identity(x)
            context = tf.distribute.get_replica_context()
            last = context.all_reduce(tf.distribute.ReduceOp.SUM, x)[-1]
            # The value is returned too, because the graph drops a reduction that nobody reads.
            with tf.control_dependencies([last]):
                return start, tf.timestamp(), last

        call = tf.function(lambda x: self.strategy.run(replica, (x,)), autograph=False)

        def zeros(context: tf.distribute.ValueContext) -> tf.Tensor:
            with tf.device(self.devices[context.replica_id_in_sync_group]):
                return tf.zeros(elements)

        tensors = self.strategy.experimental_distribute_values_from_function(zeros)

        def once() -> list[tuple[int, float, float]]:
            starts, ends, _ = map(self.strategy.experimental_local_results, call(tensors))
            return [
                (device, float(start), float(end))
                for device, (start, end) in enumerate(zip(starts, ends, strict=True))
            ]

        return once

    def _send_recv(self, elements: int) -> Call:
        """Prepares a copy placed on its receiver, as the placed strategies make it.

        It gives the receiver's interval.
        """
        with tf.device(self.devices[0]):
            tensor = tf.zeros(elements)

        @tf.function(autograph=False)
        def call(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            with tf.device(self.devices[0]):
                start = tf.timestamp()
                with tf.control_dependencies([start]):
                    x = tf.identity(x)
            with tf.device(self.devices[1]):
                last = tf.identity(x)[-1]
                with tf.control_dependencies([last]):
                    return start, tf.timestamp(), last

        def once() -> list[tuple[int, float, float]]:
            start, end, _ = call(tensor)
            return [(1, float(start), float(end))]

        return once

    def close(self) -> None:
        """Does nothing: no other process takes part."""
