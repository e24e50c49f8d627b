"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.common import boundary_width
from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models import Tensors, dense_gradients, forward
from adapters.tensorflow.models.stamps import size_bytes
from suite.spec.strategies import micro_batches, pipeline_order, stage_of_weights, stage_units
from suite.spec.workloads import GptSpec, Weights


class InterLayerSession(HorovodSession):
    """A rank's graph holds its stage's work, chained in the schedule's order."""

    def build(self, weights: Weights) -> Tensors:
        stages, self.stage = self.case.devices, self.rank.index
        self.last = stages - 1
        self.parts = micro_batches(self.case.variant, stages)
        self.order = pipeline_order(self.case.variant, self.stage, stages, self.parts)
        groups = stage_units(self.spec, stages)
        first = sum(len(group) for group in groups[: self.stage])
        self.units = range(first, first + len(groups[self.stage]))
        self.blanks = {}
        if self.stage:
            self.blanks["forward"] = self._blank(first)
        if self.stage < self.last:
            self.blanks["backward"] = self._blank(self.units.stop)
        self.sink = tf.Variable(tf.zeros((), self.dtype), trainable=False)
        owner = stage_of_weights(self.spec, stages)
        mine = {name: array for name, array in weights.items() if owner[name] == self.stage}
        return super().build(mine)

    def _blank(self, unit: int) -> tf.Variable:
        """What receives write into; one row a micro-batch, so that no two receives are alike."""
        tokens = self.spec.sequence if isinstance(self.spec, GptSpec) else 1
        rows = self.spec.global_batch // self.parts * tokens
        shape = (self.parts, rows, boundary_width(self.spec, unit))
        return tf.Variable(tf.zeros(shape, self.dtype), trainable=False)

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with self.compute_device():
            flight = _Flight(self, features, targets)
            for kind, part in self.order:
                (flight.forward if kind == "forward" else flight.backward)(part)
            return flight.result()

    def loss(self, handle: tf.Tensor) -> float:
        return float(hvd.broadcast(handle, self.last, name="loss"))

    def gradients(self, index: int) -> Weights:
        return self._whole(super().gradients(index))

    def parameters(self) -> Weights:
        return self._whole(super().parameters())

    def _whole(self, held: Weights) -> Weights:
        merged = {name: array for part in self.gather(held) for name, array in part.items()}
        return {name: merged[name] for name in self.names}


class _Flight:
    """One step's micro-batches on this stage."""

    def __init__(self, session: InterLayerSession, features: Any, targets: Any) -> None:
        self.session = session
        self.inputs = tf.split(features, session.parts)
        self.targets = tf.split(targets, session.parts)
        self.tapes: dict[int, tuple[tf.GradientTape, tf.Tensor, tf.Tensor]] = {}
        self.losses: list[tf.Tensor] = []
        self.sums: dict[str, tf.Tensor] = {}
        self.previous: list[tf.Tensor] = []

    def forward(self, part: int) -> None:
        session, stage = self.session, self.session.stage
        x = self._receive("forward", part) if stage else self.inputs[part]
        with tf.control_dependencies(self.previous):
            x = tf.identity(x)
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            y = forward(session.spec, session.variables, x, session.units)
            if stage == session.last:
                y = session.loss_function(y, self.targets[part]) / session.parts
        self.tapes[part] = tape, x, y
        self.previous = [y]
        if stage == session.last:
            self.losses.append(y)
        else:
            self._send("forward", part, y)

    def backward(self, part: int) -> None:
        session, stage = self.session, self.session.stage
        tape, x, y = self.tapes.pop(part)
        last = stage == session.last
        arriving = tf.ones_like(y) if last else self._receive("backward", part)
        with tf.control_dependencies(self.previous):
            arriving = tf.identity(arriving)
        weights = dict(session.variables)
        found = tape.gradient(y, {"": x, **weights} if stage else weights, arriving)
        leaving = found.pop("", None)
        found = dense_gradients(found)
        self.sums = {n: self.sums[n] + g if n in self.sums else g for n, g in found.items()}
        self.previous = list(self.sums.values())
        if leaving is not None:
            self._send("backward", part, leaving)

    def _receive(self, kind: str, part: int) -> tf.Tensor:
        session = self.session
        sender = session.stage - 1 if kind == "forward" else session.stage + 1
        with tf.control_dependencies(self.previous if session.stamps.on else []):
            row = tf.identity(session.blanks[kind][part])
        start = session.stamps.mark(row) if session.stamps.on else None
        tensor = self._hop(kind, part, row, sender)
        if start is not None:
            end = session.stamps.mark(tensor)
            session.stamps.add("send_recv", 0, size_bytes(tensor), start, end)
        return tensor

    def _send(self, kind: str, part: int, tensor: tf.Tensor) -> None:
        """The broadcast is no stateful operation: unless a value of it is used it is pruned."""
        sent = self._hop(kind, part, tensor, self.session.stage)
        self.session.sink.assign(tf.reshape(sent, (-1,))[0])

    def _hop(self, kind: str, part: int, tensor: tf.Tensor, sender: int) -> tf.Tensor:
        lower = sender if kind == "forward" else sender - 1
        name, neighbours = f"{kind}.{lower}.{part}", self.session.neighbours[lower]
        return hvd.broadcast(
            tensor, sender, name=name, ignore_name_scope=True, process_set=neighbours
        )

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss of the batch (zero before the last stage), gradients of this stage."""
        total = tf.add_n(self.losses) if self.losses else tf.zeros((), self.session.dtype)
        return total, self.sums
