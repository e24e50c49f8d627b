"""What both manual placements share: tensors that hop between devices of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from adapters.tensorflow.training.single import Training
from adapters.tensorflow.training.stamps import size_bytes
from suite.contract.workloads import Weights


@dataclass(frozen=True)
class _Hop:
    """What a silent step puts in its place."""

    source: int
    destination: int
    shape: tf.TensorShape
    dtype: tf.DType


@dataclass(frozen=True)
class _Arrival:
    """A hop's copy on its receiver, and the stamp of when it was there."""

    device: int
    payload_bytes: int
    arrived: tf.Variable


class PlacedSession(Training):
    """Variables live where their layer is computed; a hop is a copy placed on its receiver.

    ``done`` is what a device had finished when it sent (or kept) the tensor of a hop, by the hop's
    name; ``arrivals`` are the hops whose receiver has not told yet what it did before.
    """

    def __init__(self, *arguments: Any) -> None:
        self.done: dict[str, tf.Tensor] = {}
        self.arrivals: dict[str, _Arrival] = {}
        self._latest: dict[int, tf.Tensor] = {}  # what a device finished last
        self._hops: dict[str, _Hop] = {}
        self._ends: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        super().__init__(*arguments)

    def spread(self, features: Any) -> list[tf.Tensor]:
        """Features on the first device; on all of them where they are a side input."""
        copies = []
        for device in self.devices if self.spec.side_input else self.devices[:1]:
            with tf.device(device):
                copies.append(self.tensor(features))
        return copies

    def begin(self) -> None:
        """Call first where a step is traced: tensors of another graph are of no use."""
        self.done, self.arrivals, self._latest = {}, {}, {}

    def micro_batches(self, features: Any, targets: Any) -> Iterable[tuple[Any, Any]]:
        """Every device's copy of the features comes apart where it is."""
        split = []
        for device, copy in zip(self.devices, features, strict=False):
            with tf.device(device):
                split.append(tf.split(copy, self.case.accumulate))
        with tf.device(self.devices[0]):
            parts = tf.split(targets, self.case.accumulate)
        return zip(map(list, zip(*split, strict=True)), parts, strict=True)

    def hop(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """``tensor`` on device ``destination``; its gradient takes the way back."""
        if source == destination and not (self.stamps.on or self.silent):
            return tensor

        @tf.custom_gradient
        def move(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            def back(gradient: tf.Tensor) -> tf.Tensor:
                return self.move(gradient, destination, source, f"{name}.gradient")

            return self.move(x, source, destination, name), back

        return move(tensor)

    def move(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """``tensor`` on device ``destination``, outside of what is differentiated."""
        if source != destination and self.silent:
            return self._blank(tensor, source, destination, name)
        self.done[name] = self._latest[source] = tensor
        if source == destination:
            return tensor
        self._hops[name] = _Hop(source, destination, tensor.shape, tensor.dtype)
        ready = self.stamps.mark(source, [tensor]) if self.stamps.on else None
        with tf.device(self.devices[destination]):
            copy = tf.identity(tensor)
        if ready is not None:
            size = size_bytes(copy)
            self.stamps.sent(name, source, size, ready)
            arrived = self.stamps.mark(destination, [copy])
            self.arrivals[name] = _Arrival(destination, size, arrived)
        return copy

    def received(self, name: str, previous: Sequence[tf.Tensor]) -> None:
        """The receiver of hop ``name`` had nothing else to do after ``previous``."""
        arrival = self.arrivals.pop(name)
        idle = self.stamps.mark(arrival.device, previous)
        self.stamps.received(
            name, arrival.device, arrival.payload_bytes, idle, arrival.arrived
        )

    def silent_step(self, index: int) -> None:
        """A step with communication switched off."""
        self.make_blanks()
        super().silent_step(index)

    def make_blanks(self) -> None:
        """Variables in place of what hops leave and bring, made once; a graph cannot make them."""
        for name, hop in self._hops.items() if not self._ends else ():
            with tf.device(self.devices[hop.source]):
                sink = tf.Variable(tf.zeros((), hop.dtype), trainable=False)
            with tf.device(self.devices[hop.destination]):
                blank = tf.Variable(tf.zeros(hop.shape, hop.dtype), trainable=False)
            self._ends[name] = sink, blank

    def _blank(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """What a receiver computes on instead; the sender's tensor is still computed.

        A variable a hop: a constant would be folded, and equal inputs would be computed once.
        """
        sink, blank = self._ends[name]
        with tf.device(self.devices[source]):
            sink.assign(tf.reshape(tensor, (-1,))[0])
        before = [self._latest[destination]] if destination in self._latest else []
        self._latest[source] = tensor
        with tf.device(self.devices[destination]), tf.control_dependencies(before):
            return tf.identity(blank)

    def gather(self, arrays: dict[str, np.ndarray]) -> Weights:
        """Whole arrays under canonical names from what the devices hold."""
        return {name: arrays[name] for name in self.names}

    def gradients(self) -> Weights:
        """Whole gradients of the first step under canonical names."""
        return self.gather(dict(super().gradients()))

    def parameters(self) -> Weights:
        """Whole parameters under canonical names."""
        return self.gather(dict(super().parameters()))
