"""Measures what carries a tensor between the processes of manual placement: gRPC."""

from __future__ import annotations

import tensorflow as tf

from adapters.tensorflow.training.joining import drive, serve
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call


class SpanningLink:
    """Rank 0 of a sweep between processes: it sends a tensor to the last device and back.

    The last device is on another host. Both stamps are taken on the first device, so no clocks of
    two hosts are compared; a call took half of what lies between them.

    Args:
        case: The case of the sweep.
    """

    backend, transport = "gRPC", "tcp"

    def __init__(self, case: Case) -> None:
        driving = drive(case)
        self.driver, self.devices = driving.driver, driving.devices

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call."""
        return 2

    def barrier(self) -> None:
        """Returns once the other ranks have come here too."""
        self.driver.ask("barrier")

    def agree(self, ready: bool) -> bool:
        """Decides for all ranks, since only this one measures."""
        self.driver.tell("agree", ready=ready)
        return ready

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Returns a function that makes one call of a payload, and times it."""
        here, there = self.devices[0], self.devices[-1]
        with tf.device(here):
            tensor = tf.zeros(payload_bytes // ELEMENT_BYTES)

        @tf.function(autograph=False)
        def call(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            # The graph would drop identities: a tensor that comes back as it went is not sent.
            with tf.device(here):
                start = tf.timestamp()
                with tf.control_dependencies([start]):
                    x = tf.raw_ops.DeepCopy(x=x)
            with tf.device(there):
                x = tf.raw_ops.DeepCopy(x=x)
            with tf.device(here):
                last = tf.identity(x)[-1]
                with tf.control_dependencies([last]):
                    return start, tf.timestamp(), last

        def once() -> list[tuple[int, float, float]]:
            start, end, _ = map(float, call(tensor))
            return [(0, start, start + (end - start) / 2.0)]

        return once

    def close(self) -> None:
        """Lets the other ranks end."""
        self.driver.tell("over")


class ServedLink:
    """Another rank of such a sweep, which serves its device.

    Args:
        case: The case of the sweep.
        rank: Which of its processes this is.
    """

    backend, transport = SpanningLink.backend, SpanningLink.transport

    def __init__(self, case: Case, rank: Rank) -> None:
        self.serving = serve(case, rank)
        self.orders = self.serving.orders

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call."""
        return 2

    def barrier(self) -> None:
        """Comes to where rank 0 waits for all."""
        self.orders.next("barrier")
        self.orders.done()

    def agree(self, ready: bool) -> bool:
        """Returns what rank 0 has decided."""
        return bool(self.orders.next("agree")["ready"])

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Returns a function that measures nothing: rank 0 does."""
        return list

    def close(self) -> None:
        """Waits until rank 0 has finished."""
        self.orders.next("over")
