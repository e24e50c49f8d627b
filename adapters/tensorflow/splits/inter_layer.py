"""Inter-layer by manual placement: groups of layers on several devices, in micro-batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Tensors, named_variable
from adapters.tensorflow.splits.placement import PlacedSession
from suite.contract.splits.schedule import pipeline_schedule
from suite.contract.splits.stages import stages_of_weights, tied_weights, unit_ranges
from suite.contract.workloads import Weights


class InterLayerSession(PlacedSession):
    """Chains each stage's work in the schedule's order: a device does one thing at a time."""

    def build(self, weights: Weights) -> Tensors:
        """Makes the variables of every stage on the stage's device."""
        stages, planned = self.case.stages, (self.case.stage_speeds, self.case.cut)
        self.parts = self.case.micro_batches
        self.units = unit_ranges(self.spec, stages, *planned)
        holders = stages_of_weights(self.spec, stages, *planned)
        owner = {name: held[0] for name, held in holders.items()}
        self.tied = tied_weights(self.spec, stages)
        self.stages: list[dict[str, tf.Variable]] = [{} for _ in range(stages)]
        for name, array in weights.items():
            with tf.device(self.device_of(owner[name])):
                self.stages[owner[name]][name] = named_variable(name, self.tensor(array))
        return {name: self.stages[owner[name]][name] for name in weights}

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns gradients as they come: a stage updates while its neighbour still computes."""
        return gradients

    def device_of(self, stage: int) -> str:
        """Returns the device of a stage; devices take the stages in turns."""
        return self.devices[stage % len(self.devices)]

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts features on the devices that need them, and targets on the last device.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """
        with tf.device(self.devices[-1]):
            return self.spread(features), self.tensor(targets)

    def batch_gradients(
        self, features: list[tf.Tensor], targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes loss and gradients of a whole batch, in the order of the schedule.

        Args:
            features: The features on each device that needs them.
            targets: The targets, on the last device.

        Returns:
            Mean loss, and canonical name to gradient.
        """
        self.begin()
        flight = _Flight(self, features, targets)
        for stage, kind, part in pipeline_schedule(
            self.case.variant, self.case.devices, self.parts
        ):
            with tf.device(self.device_of(stage)):
                (flight.forward if kind == "forward" else flight.backward)(stage, part)
        return flight.result()


class _Flight:
    """The micro-batches of one step on their way through the stages."""

    def __init__(
        self, session: InterLayerSession, features: list[tf.Tensor], targets: tf.Tensor
    ) -> None:
        self.session, self.last = session, len(session.stages) - 1
        self.features: list[list[tf.Tensor]] = []
        for device, held in zip(session.devices, features, strict=False):
            with tf.device(device):
                self.features.append(tf.split(held, session.parts))
        self.inputs = {(0, part): x for part, x in enumerate(self.features[0])}
        with tf.device(session.devices[-1]):
            self.targets = tf.split(targets, session.parts)
        self.tapes: dict[tuple[int, int], tuple[tf.GradientTape, tf.Tensor, tf.Tensor]] = {}
        self.arriving: dict[tuple[int, int], tf.Tensor] = {}
        self.losses: list[tf.Tensor] = []
        self.sums: list[dict[str, tf.Tensor]] = [{} for _ in session.stages]
        self.previous: list[list[tf.Tensor]] = [[] for _ in session.devices]
        self.weights: list[dict[str, Any]] = [dict(held) for held in session.stages]
        for name in session.tied:
            table = tf.convert_to_tensor(self.weights[0][name])
            self.weights[self.last][name] = self._move(table, 0, self.last, f"tied.{name}")
            self._received(f"tied.{name}", self.last)

    def forward(self, stage: int, part: int) -> None:
        """Runs a micro-batch forward through a stage, and sends the result to the next stage."""
        session = self.session
        self._received(f"forward.{stage - 1}.{part}", stage)
        with tf.control_dependencies(self.previous[self._place(stage)]):
            x = tf.identity(self.inputs[stage, part])
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            if stage == self.last:
                tape.watch([self.weights[stage][name] for name in session.tied])
            side = self.features[self._place(stage)][part] if session.spec.side_input else None
            y = forward(
                session.spec, self.weights[stage], x, session.units[stage], features=side,
                recompute=session.case.recomputes, low=session.low,
            )
            if stage == self.last:
                y = session.loss_function(y, self.targets[part]) / session.parts
        self.tapes[stage, part] = tape, x, y
        self.previous[self._place(stage)] = [y]
        if stage == self.last:
            self.losses.append(y)
        else:
            self.inputs[stage + 1, part] = self._move(
                y, stage, stage + 1, f"forward.{stage}.{part}"
            )

    def backward(self, stage: int, part: int) -> None:
        """Runs a micro-batch backward through a stage, and sends the gradient of its input back."""
        weights = self.weights[stage]
        tape, x, y = self.tapes.pop((stage, part))
        arriving = tf.ones_like(y) if stage == self.last else self.arriving[stage, part]
        self._received(f"backward.{stage}.{part}", stage)
        with tf.control_dependencies(self.previous[self._place(stage)]):
            arriving = tf.identity(arriving)
        gradients = tape.gradient(y, {"": x, **weights} if stage else weights, arriving)
        leaving = gradients.pop("", None)
        gradients = dense_gradients(gradients)
        before = self.sums[stage]
        self.sums[stage] = {n: before[n] + g if n in before else g for n, g in gradients.items()}
        self.previous[self._place(stage)] = list(self.sums[stage].values())
        if leaving is not None:
            self.arriving[stage - 1, part] = self._move(
                leaving, stage, stage - 1, f"backward.{stage - 1}.{part}"
            )

    def _place(self, stage: int) -> int:
        return stage % len(self.session.devices)

    def _move(self, tensor: tf.Tensor, source: int, destination: int, name: str) -> tf.Tensor:
        """Moves a tensor from the device of one stage to that of another."""
        return self.session.move(tensor, self._place(source), self._place(destination), name)

    def _received(self, name: str, stage: int) -> None:
        if name in self.session.arrivals:
            self.session.received(name, self.previous[self._place(stage)])

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the mean loss of the batch and the gradient, summed over micro-batches."""
        self.sum_tied_gradients()
        merged = {name: tensor for stage in self.sums for name, tensor in stage.items()}
        with tf.device(self.session.devices[-1]):
            loss = tf.add_n(self.losses)
        return loss, {name: merged[name] for name in self.session.names}

    def sum_tied_gradients(self) -> None:
        """Sends gradients of the last stage's copies back to the first, which has the variables."""
        for name in self.session.tied:
            key = f"tied.{name}.gradient"
            returning = self._move(self.sums[self.last].pop(name), self.last, 0, key)
            self._received(key, 0)
            with tf.device(self.session.devices[0]):
                self.sums[0][name] += returning
