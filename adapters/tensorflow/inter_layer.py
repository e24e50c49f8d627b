"""Inter-layer by manual placement: groups of layers on several devices, micro-batched."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from adapters.tensorflow.models import Tensors, dense_gradients, forward
from adapters.tensorflow.placement import PlacedSession
from suite.spec.strategies import micro_batches, pipeline_schedule, stage_of_weights, stage_units
from suite.spec.workloads import Weights


class InterLayerSession(PlacedSession):
    """A stage's work is chained in the schedule's order: a device does one thing at a time."""

    def build(self, weights: Weights) -> Tensors:
        stages = self.case.devices
        self.parts = micro_batches(self.case.variant, stages)
        numbers = iter(range(len(self.spec.units())))
        self.units = [
            [next(numbers) for _ in group] for group in stage_units(self.spec, stages)
        ]
        owner = stage_of_weights(self.spec, stages)
        self.stages: list[dict[str, tf.Variable]] = [{} for _ in range(stages)]
        for name, array in weights.items():
            with tf.device(self.devices[owner[name]]):
                self.stages[owner[name]][name] = tf.Variable(self.tensor(array))
        return {name: self.stages[owner[name]][name] for name in weights}

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        with tf.device(self.devices[0]):
            first = self.tensor(features)
        with tf.device(self.devices[-1]):
            return first, self.tensor(targets)

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        flight = _Flight(self, features, targets)
        for stage, kind, part in pipeline_schedule(
            self.case.variant, self.case.devices, self.parts
        ):
            with tf.device(self.devices[stage]):
                (flight.forward if kind == "forward" else flight.backward)(stage, part)
        return flight.result()


class _Flight:
    """One step's micro-batches on their way through the stages."""

    def __init__(self, session: InterLayerSession, features: Any, targets: Any) -> None:
        self.session, self.last = session, session.case.devices - 1
        with tf.device(session.devices[0]):
            self.inputs = {(0, i): x for i, x in enumerate(tf.split(features, session.parts))}
        with tf.device(session.devices[-1]):
            self.targets = tf.split(targets, session.parts)
        self.tapes: dict[tuple[int, int], tuple[tf.GradientTape, tf.Tensor, tf.Tensor]] = {}
        self.arriving: dict[tuple[int, int], tf.Tensor] = {}
        self.losses: list[tf.Tensor] = []
        self.sums: list[dict[str, tf.Tensor]] = [{} for _ in session.devices]
        self.previous: list[list[tf.Tensor]] = [[] for _ in session.devices]

    def forward(self, stage: int, part: int) -> None:
        session = self.session
        with tf.control_dependencies(self.previous[stage]):
            x = tf.identity(self.inputs[stage, part])
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            y = forward(session.spec, session.stages[stage], x, session.units[stage])
            if stage == self.last:
                y = session.loss_function(y, self.targets[part]) / session.parts
        self.tapes[stage, part] = tape, x, y
        self.previous[stage] = [y]
        if stage == self.last:
            self.losses.append(y)
        else:
            self.inputs[stage + 1, part] = session.hop(y, stage, stage + 1)

    def backward(self, stage: int, part: int) -> None:
        session, weights = self.session, self.session.stages[stage]
        tape, x, y = self.tapes.pop((stage, part))
        arriving = tf.ones_like(y) if stage == self.last else self.arriving[stage, part]
        with tf.control_dependencies(self.previous[stage]):
            arriving = tf.identity(arriving)
        found = tape.gradient(y, {"": x, **weights} if stage else weights, arriving)
        leaving = found.pop("", None)
        found = dense_gradients(found)
        before = self.sums[stage]
        self.sums[stage] = {n: before[n] + g if n in before else g for n, g in found.items()}
        self.previous[stage] = list(self.sums[stage].values())
        if leaving is not None:
            self.arriving[stage - 1, part] = session.hop(leaving, stage, stage - 1)

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss of the batch and the sum of the micro-batches' shares of its gradient."""
        merged = {name: tensor for stage in self.sums for name, tensor in stage.items()}
        with tf.device(self.session.devices[-1]):
            loss = tf.add_n(self.losses)
        return loss, {name: merged[name] for name in self.session.names}
