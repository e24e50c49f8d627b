"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.models.stamps import size_bytes
from suite.spec.strategies import (
    micro_batches,
    pipeline_order,
    stage_units,
    stages_of_weights,
    tied_weights,
)
from suite.spec.workloads import Weights


class InterLayerSession(HorovodSession):
    """A rank's graph holds its stage's work, chained in the schedule's order."""

    def build(self, weights: Weights) -> Tensors:
        mesh = self.case.axes
        stages, self.stage = mesh.size("inter_layer"), self.position("inter_layer")
        self.line = mesh.group("inter_layer", self.rank.index)
        self.last = stages - 1
        self.parts = micro_batches(self.case.variant, stages)
        self.order = pipeline_order(self.case.variant, self.stage, stages, self.parts)
        groups = stage_units(self.spec, stages, self.case.device_speeds)
        first = sum(len(group) for group in groups[: self.stage])
        self.units = range(first, first + len(groups[self.stage]))
        self.blanks = {}
        if self.stage:
            self.blanks["forward"] = self._blank(first)
        if self.stage < self.last:
            self.blanks["backward"] = self._blank(self.units.stop)
        self.sink = tf.Variable(tf.zeros((), self.dtype), trainable=False)
        holders = stages_of_weights(self.spec, stages, self.case.device_speeds)
        mine = {name: array for name, array in weights.items() if self.stage in holders[name]}
        self.tied = [name for name in tied_weights(self.spec, stages) if name in mine]
        return super().build(mine)

    def _blank(self, unit: int) -> tf.Variable:
        """What receives write into; one row a micro-batch, so that no two receives are alike."""
        samples = self.spec.global_batch // (self.case.axes.size("data") * self.parts)
        shape = (self.parts, samples, *self.spec.boundary(unit))
        return tf.Variable(tf.zeros(shape, self.dtype), trainable=False)

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with self.compute_device():
            flight = _Flight(self, features, targets)
            for kind, part in self.order:
                (flight.forward if kind == "forward" else flight.backward)(part)
            loss, gradients = flight.result()
            return loss, self.sum_tied_gradients(self.reduce_gradients(gradients))

    def sum_tied_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Each end adds what the other found: once a step, before the update."""
        if not self.tied:
            return gradients
        ends = self.sets.of((self.line[0], self.line[-1]))
        sums = {
            name: self.sum(gradients[name], f"tied.{name}", "inter_layer", ends)
            for name in self.tied
        }
        return {**gradients, **sums}

    def loss(self, handle: tf.Tensor) -> float:
        mean = tf.constant(super().loss(handle), tf.float64)
        # The last rank has the last stage, of the last replica and shard.
        return float(hvd.broadcast(mean, self.rank.processes - 1, name="broadcast.loss"))


class _Flight:
    """One step's micro-batches on this stage."""

    def __init__(self, session: InterLayerSession, features: Any, targets: Any) -> None:
        self.session = session
        self.features = tf.split(features, session.parts)
        self.targets = tf.split(targets, session.parts)
        self.tapes: dict[int, tuple[tf.GradientTape, tf.Tensor, tf.Tensor]] = {}
        self.losses: list[tf.Tensor] = []
        self.sums: dict[str, tf.Tensor] = {}
        self.previous: list[tf.Tensor] = []

    def forward(self, part: int) -> None:
        session, stage = self.session, self.session.stage
        x = self._receive("forward", part) if stage else self.features[part]
        with tf.control_dependencies(self.previous):
            x = tf.identity(x)
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            side = self.features[part] if session.spec.side_input else None
            apply = session.applied(self.features[part], part)
            y = forward(session.spec, session.variables, x, session.units, apply, side)
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
        row = session.blanks[kind][part]
        if session.silent:
            return row
        sender = session.stage - 1 if kind == "forward" else session.stage + 1
        idle = session.stamps.mark(0, self.previous) if session.stamps.on else None
        tensor = self._hop(kind, part, row, sender)
        if idle is not None:
            name, size = self._name(kind, part, sender), size_bytes(tensor)
            session.stamps.received(name, 0, size, idle, session.stamps.mark(0, [tensor]))
        return tensor

    def _send(self, kind: str, part: int, tensor: tf.Tensor) -> None:
        """The broadcast is no stateful operation: unless a value of it is used it is pruned."""
        session = self.session
        if session.stamps.on:
            ready = session.stamps.mark(0, [tensor])
            session.stamps.sent(
                self._name(kind, part, session.stage), 0, size_bytes(tensor), ready
            )
        sent = tensor if session.silent else self._hop(kind, part, tensor, session.stage)
        session.sink.assign(tf.reshape(sent, (-1,))[0])

    def _hop(self, kind: str, part: int, tensor: tf.Tensor, sender: int) -> tf.Tensor:
        session = self.session
        lower = sender if kind == "forward" else sender - 1
        return hvd.broadcast(
            tensor, session.line[sender], name=self._name(kind, part, sender),
            ignore_name_scope=True,
            process_set=session.sets.of(session.line[lower : lower + 2]),
        )

    def _name(self, kind: str, part: int, sender: int) -> str:
        """By the lower of the two stages."""
        name = f"{kind}.{sender if kind == 'forward' else sender - 1}.{part}"
        return self.session.key("inter_layer", name)

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss of the batch (zero before the last stage), gradients of this stage."""
        total = tf.add_n(self.losses) if self.losses else tf.zeros((), self.session.dtype)
        return total, self.sums
