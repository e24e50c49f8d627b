"""Inter-layer: ranks hold stages, and broadcasts over pairs of neighbours carry tensors between
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.group import HorovodSession
from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.training.moved import MovedLayers
from adapters.tensorflow.training.stamps import size_bytes
from suite.contract.splits.schedule import Work, pipeline_order
from suite.contract.splits.stages import stages_of, stages_of_weights, tied_weights, unit_ranges
from suite.contract.threads import RunQueueClock, native_threads
from suite.contract.workloads import Weights


class InterLayerSession(MovedLayers, HorovodSession):
    """The graph of a rank contains the work of its stages, chained in the order of the schedule."""

    def build(self, weights: Weights) -> Tensors:
        """Builds the stages of this rank, and the buffers that it receives into."""
        case, mesh = self.case, self.case.axes
        devices, mine = mesh.size("inter_layer"), self.position("inter_layer")
        self.parts, self.last = case.micro_batches, case.stages - 1
        self.order = pipeline_order(case.variant, mine, devices, self.parts)
        self.stages = stages_of(case.variant, devices, mine)
        self.units = unit_ranges(self.spec, case.stages, cut=self.cut)
        ends = {"forward": 0, "backward": self.last}  # the stage that receives no such hop
        self.blanks = {
            (kind, stage): self._blank(
                self.units[stage].start if kind == "forward" else self.units[stage].stop
            )
            for stage in self.stages for kind, end in ends.items() if stage != end
        }
        self.sink = tf.Variable(tf.zeros((), self.dtype), trainable=False)
        holders = stages_of_weights(self.spec, case.stages, cut=self.cut)
        self.holders = {
            stage: [name for name in weights if stage in holders[name]] for stage in self.stages
        }
        held = {name for names in self.holders.values() for name in names}
        self.tied = [name for name in tied_weights(self.spec, case.stages) if name in held]
        return super().build({name: weights[name] for name in weights if name in held})

    def _blank(self, unit: int) -> tf.Variable:
        """Returns the buffer for what a stage receives at the boundary before ``unit``.

        It has a row for each micro-batch, because the graph would take two receives into the same
        row for one operation.
        """
        samples = self.spec.global_batch // (self.case.axes.size("data") * self.parts)
        shape = (self.parts, samples, *self.spec.boundary(unit))
        return tf.Variable(tf.zeros(shape, self.dtype), trainable=False)

    @property
    def place_among(self) -> int:
        """The number of this process's stage, where it has one alone."""
        return self.position("inter_layer")

    def summed(self, figures: tf.Tensor) -> tf.Tensor:
        """Returns, in a graph, the sum over all stages.

        Args:
            figures: A number for each stage, (stages,).
        """
        return hvd.allreduce(figures, op=hvd.Sum, name="busy", ignore_name_scope=True,
                             process_set=self.process_set("inter_layer"))

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        super().tell_busy(on)
        if on:
            computing = native_threads() - set(self.clock.communicating)
            self._queue = RunQueueClock.for_balancing(computing)

    def counted(self, run: Callable[[], tf.Tensor]) -> tuple[tf.Tensor, float]:
        """Runs a step.

        Args:
            run: The step.

        Returns:
            What it returns, and the seconds in which threads of this process other than Horovod's
            have computed, or were ready to and had no core.
        """
        began = self.clock.seconds() + self._queue.seconds()
        loss = run()
        return loss, self.clock.seconds() + self._queue.seconds() - began

    def give(self, name: str, array: np.ndarray, giver: int) -> np.ndarray:
        """Broadcasts an array among all stages: those that are no neighbours share no other set.

        Args:
            name: Canonical name of the parameter that moves.
            array: What the giver has; on the others only its shape and type count.
            giver: Number of the stage that has it.

        Returns:
            The giver's array.
        """
        ranks = self.case.axes.group("inter_layer", self.rank.index)
        given = hvd.broadcast(tf.constant(array), ranks[giver], name=f"moved.{name}",
                              process_set=self.process_set("inter_layer"))
        return np.asarray(given)

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the loss of a whole batch, and its gradients by canonical name."""
        with self.compute_device():
            if self.tells:
                self.exchange_busy()
            flight = _Flight(self, features, targets)
            for stage, kind, part in self.order:
                (flight.forward if kind == "forward" else flight.backward)(stage, part)
            loss, gradients = flight.result()
            return loss, self.sum_tied_gradients(self.reduce_gradients(gradients))

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the gradients without waiting, so a stage updates while its neighbour still
        computes.
        """
        return gradients

    def sum_tied_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Sums, once in a step, the gradients of parameters that both ends of the pipeline hold."""
        if not self.tied:
            return gradients
        ends = self.sets.of(self.hop_ranks(self.last))
        sums = {
            name: self.sum(gradients[name], f"tied.{name}", "inter_layer", ends)
            for name in self.tied
        }
        return {**gradients, **sums}

    def loss(self, handle: tf.Tensor) -> float:
        """Returns the mean loss of the global batch, which is the same on every rank."""
        mean = tf.constant(super().loss(handle), tf.float64)
        # The last rank has the last stage of the last replica and shard.
        return float(hvd.broadcast(mean, self.rank.processes - 1, name="broadcast.loss"))


class _Flight:
    """The micro-batches of one step on the stages of this rank."""

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
        """Computes the forward pass of a micro-batch through a stage, and sends the result on."""
        session, work = self.session, (stage, "forward", part)
        x = self._receive(work) if stage else self.features[part]
        with tf.control_dependencies(self.previous):
            x = tf.identity(x)
        with tf.GradientTape() as tape:
            if stage:
                tape.watch(x)
            side = self.features[part] if session.spec.side_input else None
            weights = self.weights[stage]
            apply = session.applied(weights, self.features[part], part)
            y = forward(session.spec, weights, x, session.units[stage], apply, side,
                        recompute=session.case.recomputes)
            if stage == session.last:
                y = session.loss_function(y, self.targets[part]) / session.parts
        self.tapes[stage, part] = tape, x, y
        self.previous = [y]
        if stage == session.last:
            self.losses.append(y)
        else:
            self._send(work, y)

    def backward(self, stage: int, part: int) -> None:
        """Computes the backward pass of a micro-batch through a stage; sends the gradient back."""
        session, work = self.session, (stage, "backward", part)
        tape, x, y = self.tapes.pop((stage, part))
        last = stage == session.last
        arriving = tf.ones_like(y) if last else self._receive(work)
        with tf.control_dependencies(self.previous):
            arriving = tf.identity(arriving)
        weights = self.weights[stage]
        gradients = tape.gradient(y, {"": x, **weights} if stage else weights, arriving)
        leaving = gradients.pop("", None)
        gradients = dense_gradients(gradients)
        self.sums |= {n: self.sums[n] + g if n in self.sums else g for n, g in gradients.items()}
        self.previous = [self.sums[name] for name in gradients]
        if leaving is not None:
            self._send(work, leaving)

    def _receive(self, work: Work) -> tf.Tensor:
        session, (stage, kind, part) = self.session, work
        row = session.blanks[kind, stage][part]
        if session.silent:
            return row
        idle = session.stamps.mark(0, self.previous) if session.stamps.on else None
        tensor = self._hop(work, row, sending=False)
        if idle is not None:
            name, arrived = self._name(work, sending=False), session.stamps.mark(0, [tensor])
            session.stamps.received(name, 0, size_bytes(tensor), idle, arrived)
        return tensor

    def _send(self, work: Work, tensor: tf.Tensor) -> None:
        """Sends a tensor, and uses a value of the result.

        The broadcast is not a stateful operation, so the graph would drop it if nothing used its
        result.
        """
        session = self.session
        if session.stamps.on:
            ready = session.stamps.mark(0, [tensor])
            session.stamps.sent(self._name(work, sending=True), 0, size_bytes(tensor), ready)
        sent = tensor if session.silent else self._hop(work, tensor, sending=True)
        session.sink.assign(tf.reshape(sent, (-1,))[0])

    def _hop(self, work: Work, tensor: tf.Tensor, sending: bool) -> tf.Tensor:
        """Broadcasts a tensor from the sending stage to the receiving one."""
        ranks = self.session.hop_ranks(_lower(work, sending))
        return hvd.broadcast(
            tensor, ranks[work[1] == "backward"], name=self._name(work, sending),
            ignore_name_scope=True, process_set=self.session.sets.of(ranks),
        )

    def _name(self, work: Work, sending: bool) -> str:
        """Names a hop by the lower of its two stages."""
        _, kind, part = work
        return self.session.key("inter_layer", f"{kind}.{_lower(work, sending)}.{part}")

    def result(self) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the batch's mean loss (0 except on the last stage) and the gradients of this
        rank.
        """
        total = tf.add_n(self.losses) if self.losses else tf.zeros((), self.session.dtype)
        return total, self.sums


def _lower(work: Work, sending: bool) -> int:
    """Returns the lower of the two stages of a hop."""
    stage, kind, _ = work
    return stage if sending == (kind == "forward") else stage - 1
