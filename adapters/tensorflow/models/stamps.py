"""Times taken inside a graph: when tensors are ready on a device.

``tf.timestamp`` is a stateful operation, and automatic control dependencies run such operations one
after another, which serialises replicas. Inside a nested function that assigns a variable of its
own, a stamp is ordered by that variable alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from suite.spec.adapter import CommEvent


@tf.function
def _stamp(slot: tf.Variable) -> None:
    slot.assign(tf.timestamp())


@dataclass
class _Interval:
    kind: str
    device: int
    payload_bytes: int
    start: tf.Variable
    end: tf.Variable


class Stamps:
    """Off while the clean graph is traced; then every interval becomes a communication event."""

    def __init__(self) -> None:
        self.on = False
        self._free: list[tf.Variable] = []
        self._intervals: list[_Interval] = []

    def enable(self, capacity: int) -> None:
        """From here on graphs are traced with stamps; their variables cannot be made in there."""
        self.on = True
        with tf.device("/CPU:0"):
            self._free = [
                tf.Variable(0.0, dtype=tf.float64, trainable=False) for _ in range(capacity)
            ]

    def mark(self, *tensors: tf.Tensor) -> tf.Variable:
        """A variable that holds when all of ``tensors`` were ready, seconds."""
        slot = self._free.pop()
        with tf.control_dependencies(tensors):
            _stamp(slot)
        return slot

    def add(
        self, kind: str, device: int, payload_bytes: int, start: tf.Variable, end: tf.Variable
    ) -> None:
        """An interval between two marks; every device that takes part adds its own."""
        self._intervals.append(_Interval(kind, device, payload_bytes, start, end))

    def events(self) -> Sequence[CommEvent]:
        """The last step's communications."""
        return [
            CommEvent(i.kind, i.payload_bytes, float(i.start), float(i.end), i.device)
            for i in self._intervals
        ]


def size_bytes(tensor: tf.Tensor) -> int:
    """Bytes of a tensor whose shape is known when the graph is traced."""
    return int(tensor.shape.num_elements() * tensor.dtype.size)
