"""Times taken inside a graph: when tensors are ready on a device.

``tf.timestamp`` is a stateful operation, and automatic control dependencies run such operations one
after another, which serialises replicas. Inside a nested function that assigns a variable of its
own, a stamp is ordered by that variable alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from suite.contract.adapter import CommEvent


@tf.function(autograph=False)
def _stamp(slot: tf.Variable, device: str) -> None:
    with tf.device(device):
        slot.assign(tf.timestamp())


@dataclass(frozen=True)
class _Interval:
    kind: str
    key: str
    role: str
    device: int
    payload_bytes: int
    start: tf.Variable
    end: tf.Variable


class Stamps:
    """Off while the clean graph is traced; then every interval becomes a communication event."""

    def __init__(self, devices: Sequence[str]) -> None:
        self.on = False
        self._devices = devices
        self._free: list[list[tf.Variable]] = []
        self._intervals: list[_Interval] = []

    def enable(self, capacity: int) -> None:
        """From here on graphs are traced with stamps, at most ``capacity`` a device.

        Their variables are made now: inside a graph, a strategy would mirror them.
        """
        self.on = True
        for device in self._devices:
            with tf.device(device):
                self._free.append([
                    tf.Variable(0.0, dtype=tf.float64, trainable=False) for _ in range(capacity)
                ])

    def mark(self, device: int, tensors: Sequence[tf.Tensor] = ()) -> tf.Variable:
        """A variable of ``device`` that will hold when all of ``tensors`` were ready, seconds.

        Without tensors: when the device began the step.
        """
        slot = self._free[device].pop()
        with tf.control_dependencies(tensors):
            _stamp(slot, self._devices[device])
        return slot

    def member(
        self, kind: str, key: str, device: int, payload_bytes: int, start: tf.Variable,
        end: tf.Variable,
    ) -> None:
        """A device's part in the collective ``key``: from its arrival to its result."""
        self._intervals.append(_Interval(
            kind=kind, key=key, role="member", device=device, payload_bytes=payload_bytes,
            start=start, end=end,
        ))

    def sent(self, key: str, device: int, payload_bytes: int, ready: tf.Variable) -> None:
        """The source of the hop ``key`` has its tensor."""
        self._intervals.append(_Interval(
            kind="send_recv", key=key, role="send", device=device, payload_bytes=payload_bytes,
            start=ready, end=ready,
        ))

    def received(
        self, key: str, device: int, payload_bytes: int, idle: tf.Variable, arrived: tf.Variable
    ) -> None:
        """The destination of the hop ``key``: its previous work was done, the tensor is there."""
        self._intervals.append(_Interval(
            kind="send_recv", key=key, role="recv", device=device, payload_bytes=payload_bytes,
            start=idle, end=arrived,
        ))

    def events(self) -> list[CommEvent]:
        """The last step's communications.

        A stamp runs when an executor's thread takes it, which may be after the operation it ought
        to precede; but nobody was ready later than the first who had the result. So what arrives
        while its receiver works has no length. Of a hop to another process only the send is here.
        """
        ends = {
            one.key: min(float(o.end) for o in self._intervals if o.key == one.key)
            for one in self._intervals if one.role != "send"
        }
        return [_event(one, ends.get(one.key, float("inf"))) for one in self._intervals]


class TowerStamps(Stamps):
    """A tower's view of the stamps of all devices: its devices are some of them.

    ``suffix`` tells its communications from those of the other towers.
    """

    def __init__(self, whole: Stamps, devices: Sequence[int], suffix: str) -> None:
        self._whole, self._numbers, self._suffix = whole, devices, suffix

    @property
    def on(self) -> bool:  # type: ignore[override]
        return self._whole.on

    def mark(self, device: int, tensors: Sequence[tf.Tensor] = ()) -> tf.Variable:
        return self._whole.mark(self._numbers[device], tensors)

    def member(
        self, kind: str, key: str, device: int, payload_bytes: int, start: tf.Variable,
        end: tf.Variable,
    ) -> None:
        key, device = key + self._suffix, self._numbers[device]
        self._whole.member(kind, key, device, payload_bytes, start, end)

    def sent(self, key: str, device: int, payload_bytes: int, ready: tf.Variable) -> None:
        self._whole.sent(key + self._suffix, self._numbers[device], payload_bytes, ready)

    def received(
        self, key: str, device: int, payload_bytes: int, idle: tf.Variable, arrived: tf.Variable
    ) -> None:
        number = self._numbers[device]
        self._whole.received(key + self._suffix, number, payload_bytes, idle, arrived)


def _event(interval: _Interval, first_end_s: float) -> CommEvent:
    start, end = float(interval.start), float(interval.end)
    return CommEvent(
        kind=interval.kind, payload_bytes=interval.payload_bytes,
        start_s=min(start, first_end_s), end_s=end, device=interval.device,
        key=interval.key, role=interval.role,
    )


def size_bytes(tensor: tf.Tensor) -> int:
    """Bytes of a tensor whose shape is known when the graph is traced."""
    return int(tensor.shape.num_elements() * tensor.dtype.size)
