"""Inter-layer: stages on ranks, hops as broadcasts over the process sets of neighbours."""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as hvd
import tensorflow as tf

from adapters.horovod.common import merge_stages
from adapters.horovod.tensorflow_engine.session import HorovodSession
from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.models.stamps import size_bytes
from suite.spec.strategies import (
    Work,
    pipeline_order,
    stage_count,
    stages_of,
    stages_of_weights,
    tied_weights,
    unit_ranges,
)
from suite.spec.workloads import Weights


class InterLayerSession(HorovodSession):
    """A rank's graph holds its stage's work, chained in the schedule's order."""

    def build(self, weights: Weights) -> Tensors:
        variant, devices, mine = self.case.variant, self.case.devices, self.rank.index
        self.parts = self.case.micro_batches
        self.order = pipeline_order(variant, mine, devices, self.parts)
        self.stages, stages = stages_of(variant, devices, mine), stage_count(variant, devices)
        self.last = stages - 1
        self.units = unit_ranges(self.spec, stages)
        ends = {"forward": 0, "backward": self.last}  # stages that receive no such hop
        self.blanks = {
            (kind, stage): self._blank(
                self.units[stage].start if kind == "forward" else self.units[stage].stop
            )
            for stage in self.stages for kind, end in ends.items() if stage != end
        }
        self.sink = tf.Variable(tf.zeros((), self.dtype), trainable=False)
        holders = stages_of_weights(self.spec, stages)
        self.holders = {
            stage: [name for name in weights if stage in holders[name]] for stage in self.stages
        }
        held = {name for names in self.holders.values() for name in names}
        self.tied = [name for name in tied_weights(self.spec, stages) if name in held]
        return super().build({name: weights[name] for name in weights if name in held})

    def _blank(self, unit: int) -> tf.Variable:
        """What receives write into; one row a micro-batch, so that no two receives are alike."""
        samples = self.spec.global_batch // self.parts
        shape = (self.parts, samples, *self.spec.boundary(unit))
        return tf.Variable(tf.zeros(shape, self.dtype), trainable=False)

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with self.compute_device():
            flight = _Flight(self, features, targets)
            for stage, kind, part in self.order:
                (flight.forward if kind == "forward" else flight.backward)(stage, part)
            loss, gradients = flight.result()
            return loss, self.sum_tied_gradients(gradients)

    def sum_tied_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Each end adds what the other found: once a step, before the update."""
        sums = {name: self.sum(gradients[name], f"tied.{name}", self.ends) for name in self.tied}
        return {**gradients, **sums}

    def loss(self, handle: tf.Tensor) -> float:
        return float(hvd.broadcast(handle, self.case.devices - 1, name="loss"))

    def gradients(self, index: int) -> Weights:
        return self._whole(super().gradients(index))

    def parameters(self) -> Weights:
        return self._whole(super().parameters())

    def _whole(self, held: Weights) -> Weights:
        merged = merge_stages(self.gather(held))
        return {name: merged[name] for name in self.names}


class _Flight:
    """One step's micro-batches on this stage."""

    def __init__(self, session: InterLayerSession, features: Any, targets: Any) -> None:
        self.session = session
        self.features = tf.split(features, session.parts)
        self.targets = tf.split(targets, session.parts)
        self.tapes: dict[tuple[int, int], tuple[tf.GradientTape, tf.Tensor, tf.Tensor]] = {}
        self.losses: list[tf.Tensor] = []
        self.sums: dict[str, tf.Tensor] = {}
        self.previous: list[tf.Tensor] = []
        self.weights = {
            stage: {name: session.variables[name] for name in names}
            for stage, names in session.holders.items()
        }

    def forward(self, stage: int, part: int) -> None:
        session, work = self.session, (stage, "forward", part)
        x = self._receive(work) if stage else self.features[part]
        with tf.control_dependencies(self.previous):
            x = tf.identity(x)
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            side = self.features[part] if session.spec.side_input else None
            y = forward(
                session.spec, self.weights[stage], x, session.units[stage], features=side
            )
            if stage == session.last:
                y = session.loss_function(y, self.targets[part]) / session.parts
        self.tapes[stage, part] = tape, x, y
        self.previous = [y]
        if stage == session.last:
            self.losses.append(y)
        else:
            self._send(work, y)

    def backward(self, stage: int, part: int) -> None:
        session, work = self.session, (stage, "backward", part)
        tape, x, y = self.tapes.pop((stage, part))
        last = stage == session.last
        arriving = tf.ones_like(y) if last else self._receive(work)
        with tf.control_dependencies(self.previous):
            arriving = tf.identity(arriving)
        weights = self.weights[stage]
        found = tape.gradient(y, {"": x, **weights} if stage else weights, arriving)
        leaving = found.pop("", None)
        found = dense_gradients(found)
        self.sums |= {n: self.sums[n] + g if n in self.sums else g for n, g in found.items()}
        self.previous = [self.sums[name] for name in found]
        if leaving is not None:
            self._send(work, leaving)

    def _receive(self, work: Work) -> tf.Tensor:
        session, (stage, kind, part) = self.session, work
        row = session.blanks[kind, stage][part]
        if session.silent:
            return row
        idle = session.stamps.mark(0, self.previous) if session.stamps.on else None
        name = self._name(work, sending=False)
        tensor = self._hop(name, row)
        if idle is not None:
            arrived = session.stamps.mark(0, [tensor])
            session.stamps.received(name, 0, size_bytes(tensor), idle, arrived)
        return tensor

    def _send(self, work: Work, tensor: tf.Tensor) -> None:
        """The broadcast is no stateful operation: unless a value of it is used it is pruned."""
        session, name = self.session, self._name(work, sending=True)
        if session.stamps.on:
            ready = session.stamps.mark(0, [tensor])
            session.stamps.sent(name, 0, size_bytes(tensor), ready)
        sent = tensor if session.silent else self._hop(name, tensor)
        session.sink.assign(tf.reshape(sent, (-1,))[0])

    def _hop(self, name: str, tensor: tf.Tensor) -> tf.Tensor:
        """A broadcast from the stage a forward comes from, or a backward."""
        kind, lower = name.split(".")[0], int(name.split(".")[1])
        devices = self.session.case.devices
        return hvd.broadcast(
            tensor, (lower if kind == "forward" else lower + 1) % devices, name=name,
            ignore_name_scope=True, process_set=self.session.neighbours[lower % devices],
        )

    def _name(self, work: Work, sending: bool) -> str:
        """By the lower of the two stages."""
        stage, kind, part = work
        lower = stage if sending == (kind == "forward") else stage - 1
        return f"{kind}.{lower}.{part}"

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss of the batch (zero before the last stage), gradients of this stage."""
        total = tf.add_n(self.losses) if self.losses else tf.zeros((), self.session.dtype)
        return total, self.sums
