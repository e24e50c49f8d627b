"""What both manual placements share: tensors that move between the devices of one process."""

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
    """A transfer, with what a silent step needs in order to put something in its place."""

    source: int
    destination: int
    shape: tf.TensorShape
    dtype: tf.DType


@dataclass(frozen=True)
class _Arrival:
    """The copy that a transfer made on its receiver, and the stamp of when it was there."""

    device: int
    payload_bytes: int
    arrived: tf.Variable


class PlacedSession(Training):
    """Keeps variables on the device of their layer; a transfer is a copy placed on its receiver.

    Attributes:
        done: Name of a transfer to what its sender had finished when it sent (or kept) the tensor.
        arrivals: Name of a transfer to its arrival, until its receiver tells what it did before.
    """

    def __init__(self, *arguments: Any) -> None:
        self.done: dict[str, tf.Tensor] = {}
        self.arrivals: dict[str, _Arrival] = {}
        self._latest: dict[int, tf.Tensor] = {}  # device -> the tensor that it finished last
        self._hops: dict[str, _Hop] = {}
        self._ends: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        super().__init__(*arguments)

    def spread(self, features: Any) -> list[tf.Tensor]:
        """Puts features on the first device, or on all devices if they are a side input.

        Args:
            features: (samples, …) of the global batch.
        """
        copies = []
        for device in self.devices if self.spec.side_input else self.devices[:1]:
            with tf.device(device):
                copies.append(self.tensor(features))
        return copies

    def begin(self) -> None:
        """Forgets tensors of an earlier graph; to be called first when a step is traced."""
        self.done, self.arrivals, self._latest = {}, {}, {}

    def micro_batches(self, features: Any, targets: Any) -> Iterable[tuple[Any, Any]]:
        """Cuts a batch into micro-batches, each device's copy of the features where it is.

        Args:
            features: The features on each device that has them.
            targets: The targets.
        """
        split = []
        for device, copy in zip(self.devices, features, strict=False):
            with tf.device(device):
                split.append(tf.split(copy, self.case.accumulate))
        with tf.device(self.devices[0]):
            parts = tf.split(targets, self.case.accumulate)
        return zip(map(list, zip(*split, strict=True)), parts, strict=True)

    def hop(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """Returns ``tensor`` on another device; its gradient takes the way back.

        Args:
            tensor: The tensor, on the device ``source``.
            source: Number of the device that sends.
            destination: Number of the device that receives.
            name: Name of the transfer, unique in a step.
        """
        if source == destination and not (self.stamps.on or self.silent):
            return tensor

        @tf.custom_gradient
        def move(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            def back(gradient: tf.Tensor) -> tf.Tensor:
                return self.move(gradient, destination, source, f"{name}.gradient")

            return self.move(x, source, destination, name), back

        return move(tensor)

    def move(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """Returns ``tensor`` on another device, without a gradient.

        Args:
            tensor: The tensor, on the device ``source``.
            source: Number of the device that sends.
            destination: Number of the device that receives.
            name: Name of the transfer, unique in a step.
        """
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
        """Tells the probes that a receiver had nothing else to do after some tensors.

        Args:
            name: Name of the transfer.
            previous: The tensors that the receiver finished before.
        """
        arrival = self.arrivals.pop(name)
        idle = self.stamps.mark(arrival.device, previous)
        self.stamps.received(
            name, arrival.device, arrival.payload_bytes, idle, arrival.arrived
        )

    def silent_step(self, index: int) -> None:
        """Runs a step with communication switched off."""
        self.make_blanks()
        super().silent_step(index)

    def make_blanks(self) -> None:
        """Makes the variables that a silent step uses in place of transfers, once.

        They are made outside of the graph, because a graph cannot make variables.
        """
        for name, hop in self._hops.items() if not self._ends else ():
            with tf.device(self.devices[hop.source]):
                sink = tf.Variable(tf.zeros((), hop.dtype), trainable=False)
            with tf.device(self.devices[hop.destination]):
                blank = tf.Variable(tf.zeros(hop.shape, hop.dtype), trainable=False)
            self._ends[name] = sink, blank

    def _blank(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """Returns what a receiver computes on in a silent step.

        The sender's tensor is still computed. Each transfer has a variable, because a constant
        would be folded, and equal inputs would be computed only once.
        """
        sink, blank = self._ends[name]
        with tf.device(self.devices[source]):
            sink.assign(tf.reshape(tensor, (-1,))[0])
        before = [self._latest[destination]] if destination in self._latest else []
        self._latest[source] = tensor
        with tf.device(self.devices[destination]), tf.control_dependencies(before):
            return tf.identity(blank)

    def gather(self, arrays: dict[str, np.ndarray]) -> Weights:
        """Returns whole arrays under canonical names, from what the devices hold.

        Args:
            arrays: Name of a variable to its value.
        """
        return {name: arrays[name] for name in self.names}

    def gradients(self) -> Weights:
        """Returns the whole gradients of the first step, under canonical names."""
        return self.gather(dict(super().gradients()))

    def parameters(self) -> Weights:
        """Returns the whole parameters, under canonical names."""
        return self.gather(dict(super().parameters()))
