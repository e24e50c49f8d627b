"""The graph of a training step: forward, backward and update, on a single device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from adapters.tensorflow.models import dense_gradients, forward, loss_function
from adapters.tensorflow.models.branch import Tensors, named_variable
from adapters.tensorflow.training.optimizer import Adam
from adapters.tensorflow.training.stamps import Stamps
from suite.contract.adapter import Inputs
from suite.contract.case import Case
from suite.contract.planned_loss import planned_loss
from suite.contract.workloads import Weights

# A traced step: (features, targets) to the mean loss.
Graph = Callable[..., tf.Tensor]


class StepGraph:
    """Builds the step of a case; strategies override the parts that they do differently.

    Args:
        case: The case.
        weights: Initial weights in canonical layout.
        inputs: The global batches.
        devices: Names of the devices that this process drives.
    """

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.case, self.devices = case, devices
        self.spec = case.spec
        self.names = list(weights)
        self.dtype = tf.float64 if case.dtype == "float64" else tf.float32
        # Products and what travels between shards or stages; parameters and updates stay float32.
        self.low = tf.bfloat16 if case.dtype == "bf16" else None
        self.loss_function = planned_loss(loss_function(self.spec), case)
        self.stamps = self.make_stamps()
        self.batches = [self.place(*inputs.at(index)) for index in range(inputs.count)]
        self.variables = self.build(weights)
        self.optimizer = self.make_optimizer()
        self.silent = False  # whether the graph that is traced now leaves communication out
        self.turn = 0  # number of the micro-batch that is being traced
        self.train = self.new_graph()

    def make_stamps(self) -> Stamps:
        """Makes the stamps of this session's devices."""
        return Stamps(self.devices)

    def new_graph(self) -> Graph:
        """Makes a graph of the training step; it is traced when first called.

        It contains stamps if they are on at that time, and no communication if ``silent`` is set.
        """
        return self.graph_of(self.training_step)

    def graph_of(self, function: Callable[..., Any]) -> Graph:
        """Makes a graph of a function; in compiled mode XLA compiles it as a whole."""
        return tf.function(function, autograph=False, jit_compile=self.case.mode == "compiled")

    def tensor(self, array: Any) -> tf.Tensor:
        """Converts an array to a tensor of the parameters' type.

        Whole numbers become int64 on a GPU: TensorFlow keeps int32 tensors in the host's memory.
        """
        wide = tf.int64 if self.case.device == "cuda" else None
        return tf.constant(array, self.dtype if array.dtype.kind == "f" else wide)

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts a global batch on the device where the step reads it."""
        with tf.device(self.devices[0]):
            return self.tensor(features), self.tensor(targets)

    def build(self, weights: Weights) -> Tensors:
        """Makes the variables; returns them under their canonical names."""
        with tf.device(self.devices[0]):
            return {name: named_variable(name, self.tensor(array))
                    for name, array in weights.items()}

    def make_optimizer(self) -> Adam:
        """Makes the optimiser of all variables."""
        return Adam(self.spec.optimizer, self.variables)

    def compute_device(self) -> AbstractContextManager[Any]:
        """Context that places operations on the device that computes."""
        return tf.device(self.devices[0])

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the mean loss of a batch and the dense gradients of all variables.

        Args:
            features: The features of the batch, samples along the first axis.
            targets: The targets of the batch.

        Returns:
            The loss, and canonical name to gradient.
        """
        with self.compute_device():
            with tf.GradientTape() as tape:
                loss = self.mean_loss(features, targets)
            return loss, self.tape_gradients(tape, loss)

    def tape_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns canonical name to the dense gradient of ``loss``."""
        return dense_gradients(tape.gradient(loss, dict(self.variables)))

    def mean_loss(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Computes the mean loss of a batch.

        A reference computes it part by part, in the groups whose batch statistics the devices or
        micro-batches of the compared case would take separately.
        """
        groups = self.case.statistics_groups
        if groups == 1:
            again = self.case.recomputes
            logits = forward(
                self.spec, self.variables, features, recompute=again, low=self.low
            )
            return self.loss_function(logits, targets)
        parts = zip(tf.split(features, groups), tf.split(targets, groups), strict=True)
        losses = [self.loss_function(forward(self.spec, self.variables, x, low=self.low), y)
                  for x, y in parts]
        return tf.add_n(losses) / groups

    def accumulated(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Accumulates ``loss_and_gradients`` over the micro-batches of a batch.

        Each micro-batch waits for the sums of those before it, so that only the activations of a
        single micro-batch are in memory.

        Args:
            features: The features of the batch, samples along the first axis.
            targets: The targets of the batch.

        Returns:
            The mean loss, and canonical name to mean gradient.
        """
        parts = self.case.accumulate
        if parts == 1:
            return self.loss_and_gradients(features, targets)
        losses: list[tf.Tensor] = []
        sums: dict[str, tf.Tensor] = {}
        for turn, (x, y) in enumerate(self.micro_batches(features, targets)):
            self.turn = turn
            with tf.control_dependencies(list(sums.values())):
                x, y = tf.nest.map_structure(_in_place, (x, y))
            loss, gradients = self.loss_and_gradients(x, y)
            losses.append(loss)
            sums = {name: self._plus(name, sums.get(name), g) for name, g in gradients.items()}
        self.turn = 0
        with self.compute_device():
            return tf.add_n(losses) / parts, sums

    def _plus(self, name: str, total: tf.Tensor | None, gradient: tf.Tensor) -> tf.Tensor:
        """Adds a micro-batch's share of the mean gradient to the total of those before it."""
        with tf.device(self.variables[name].device):
            share = gradient / self.case.accumulate
            return share if total is None else total + share

    def micro_batches(self, features: Any, targets: Any) -> Iterable[tuple[Any, Any]]:
        """Cuts the samples of this process into equal contiguous micro-batches."""
        parts = self.case.accumulate
        with self.compute_device():
            return zip(tf.split(features, parts), tf.split(targets, parts), strict=True)

    def training_step(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Makes an update; returns the mean loss before it. This is what the graph contains."""
        loss, gradients = self.batch_gradients(features, targets)
        self.optimizer.apply(self.all_there(gradients))
        return loss

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss and the gradients from which the update is made."""
        return self.accumulated(features, targets)

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Holds each gradient back until all gradients of its device are there.

        TensorFlow copies a variable that is updated while another operation still reads it. After
        the last gradient nothing reads the variables any more, so no update has to copy.

        Args:
            gradients: Canonical name to gradient.

        Returns:
            The same gradients, which become available together on each device.
        """
        devices: dict[str, list[str]] = {}
        for name in gradients:
            devices.setdefault(self.variables[name].device, []).append(name)
        together: dict[str, tf.Tensor] = {}
        for device, names in devices.items():
            with tf.device(device), tf.control_dependencies([gradients[name] for name in names]):
                together |= {name: tf.identity(gradients[name]) for name in names}
        return together


def _in_place(tensor: tf.Tensor) -> tf.Tensor:
    """Copies a tensor on its own device, so that control dependencies can hold it back."""
    with tf.device(tensor.device):
        return tf.identity(tensor)
