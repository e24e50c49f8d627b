"""Time stamps taken inside a graph: when tensors are ready on a device.

``tf.timestamp`` is a stateful operation. Automatic control dependencies run stateful operations one
after another, which would serialise the replicas. Each stamp is therefore taken in a nested
function that assigns a variable of its own, so that only this variable orders it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from suite.contract.adapter import CommEvent


@tf.function(autograph=False)
def stamp(slot: tf.Variable, device: str) -> None:
    """Stores the time at which ``device`` runs this operation, in seconds since the epoch."""
    with tf.device(device):
        slot.assign(tf.timestamp())


@dataclass(frozen=True)
class _Interval:
    """A communication as a device sees it; its stamps hold the times of the last step."""

    kind: str
    key: str
    role: str
    device: int
    payload_bytes: int
    start: tf.Variable
    end: tf.Variable


class Stamps:
    """The stamps of all devices that a process drives, and the communications between them.

    Stamps are off while the clean graph is traced. Graphs traced after ``enable`` contain them.

    Args:
        devices: Names of the devices.
        hosts: The host of each device, where they are on several: each host has a clock of its own.
    """

    def __init__(self, devices: Sequence[str], hosts: Sequence[str] = ()) -> None:
        self.on = False
        self._devices = devices
        self._hosts = hosts or [""] * len(devices)
        self._free: list[list[tf.Variable]] = []
        self._intervals: list[_Interval] = []

    def enable(self, capacity: int) -> None:
        """Turns stamps on for the graphs that are traced from now on.

        The variables are made here, because a distribution strategy would mirror variables that
        are made inside a graph.

        Args:
            capacity: How many stamps each device can take in a step.
        """
        self.on = True
        for device in self._devices:
            with tf.device(device):
                self._free.append([
                    tf.Variable(0.0, dtype=tf.float64, trainable=False) for _ in range(capacity)
                ])

    def mark(self, device: int, tensors: Sequence[tf.Tensor] = ()) -> tf.Variable:
        """Takes a stamp when all of ``tensors`` are ready.

        Args:
            device: Number of the device.
            tensors: What to wait for; without tensors, the stamp is the start of the step.

        Returns:
            A variable on the device that will hold the time in seconds since the epoch.
        """
        slot = self._free[device].pop()
        with tf.control_dependencies(tensors):
            stamp(slot, self._devices[device])
        return slot

    def member(
        self, kind: str, key: str, device: int, payload_bytes: int, start: tf.Variable,
        end: tf.Variable,
    ) -> None:
        """Records a device's part in a collective.

        Args:
            kind: all_reduce, all_gather, reduce_scatter or broadcast.
            key: Name of the collective, the same on all devices that take part.
            device: Number of the device.
            payload_bytes: Bytes of the tensor that the device contributes.
            start: Stamp of when the device arrived.
            end: Stamp of when it had the result.
        """
        self._intervals.append(_Interval(
            kind=kind, key=key, role="member", device=device, payload_bytes=payload_bytes,
            start=start, end=end,
        ))

    def sent(self, key: str, device: int, payload_bytes: int, ready: tf.Variable) -> None:
        """Records the sender of the hop ``key``; ``ready`` stamps when it had the tensor."""
        self._intervals.append(_Interval(
            kind="send_recv", key=key, role="send", device=device, payload_bytes=payload_bytes,
            start=ready, end=ready,
        ))

    def received(
        self, key: str, device: int, payload_bytes: int, idle: tf.Variable, arrived: tf.Variable
    ) -> None:
        """Records the receiver of the hop ``key``.

        Args:
            key: Name of the hop, the same for its sender.
            device: Number of the device.
            payload_bytes: Bytes of the tensor.
            idle: Stamp of when the device had finished its previous work.
            arrived: Stamp of when the tensor was there.
        """
        self._intervals.append(_Interval(
            kind="send_recv", key=key, role="recv", device=device, payload_bytes=payload_bytes,
            start=idle, end=arrived,
        ))

    def events(self) -> list[CommEvent]:
        """Reads the communications of the last step.

        TensorFlow runs a stamp when a thread of its executor is free, which may be after the
        operation that the stamp should precede. But no device can have been ready later than the
        first device had the result, so starts are bounded by the earliest end. A tensor that
        arrives while its receiver still works therefore has no length. For a hop to another
        process only the send is recorded here. Times of different hosts are not compared: the
        harness brings their clocks together later.

        Returns:
            An event per device and communication, in seconds since the epoch.
        """
        ends: dict[tuple[str, str], float] = {}
        for interval in self._intervals:
            if interval.role != "send":
                where = interval.key, self._hosts[interval.device]
                ends[where] = min(float(interval.end), ends.get(where, float("inf")))
        return [
            _event(interval, ends.get((interval.key, self._hosts[interval.device]), float("inf")))
            for interval in self._intervals
        ]


class TowerStamps(Stamps):
    """The stamps as a tower sees them; a tower is a replica that is split over some devices.

    Args:
        whole: The stamps of all devices.
        devices: Numbers of the tower's devices among all devices.
        suffix: Added to every key, so that keys of different towers differ.
    """

    def __init__(self, whole: Stamps, devices: Sequence[int], suffix: str) -> None:
        self._whole, self._numbers, self._suffix = whole, devices, suffix

    @property
    def on(self) -> bool:  # type: ignore[override]
        """Whether graphs are traced with stamps."""
        return self._whole.on

    def mark(self, device: int, tensors: Sequence[tf.Tensor] = ()) -> tf.Variable:
        """Takes a stamp on the tower's device of that number."""
        return self._whole.mark(self._numbers[device], tensors)

    def member(
        self, kind: str, key: str, device: int, payload_bytes: int, start: tf.Variable,
        end: tf.Variable,
    ) -> None:
        """Records a part in a collective between devices of the tower."""
        key, device = key + self._suffix, self._numbers[device]
        self._whole.member(kind, key, device, payload_bytes, start, end)

    def sent(self, key: str, device: int, payload_bytes: int, ready: tf.Variable) -> None:
        """Records the sender of a hop between devices of the tower."""
        self._whole.sent(key + self._suffix, self._numbers[device], payload_bytes, ready)

    def received(
        self, key: str, device: int, payload_bytes: int, idle: tf.Variable, arrived: tf.Variable
    ) -> None:
        """Records the receiver of a hop between devices of the tower."""
        number = self._numbers[device]
        self._whole.received(key + self._suffix, number, payload_bytes, idle, arrived)


def _event(interval: _Interval, first_end_s: float) -> CommEvent:
    """Reads the stamps of a communication, whose start cannot be later than ``first_end_s``."""
    start, end = float(interval.start), float(interval.end)
    return CommEvent(
        kind=interval.kind, payload_bytes=interval.payload_bytes,
        start_s=min(start, first_end_s), end_s=end, device=interval.device,
        key=interval.key, role=interval.role,
    )


def size_bytes(tensor: tf.Tensor) -> int:
    """Returns the bytes of a tensor whose shape is known when the graph is traced."""
    return int(tensor.shape.num_elements() * tensor.dtype.size)
