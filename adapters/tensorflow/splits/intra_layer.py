"""Intra-layer by manual placement: split a layer over devices, compute, merge on the first."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models import dense_gradients, forward
from adapters.tensorflow.models.branch import Branch, Share, Tensors, held, sums
from adapters.tensorflow.splits.placement import PlacedSession
from suite.contract.splits.shards import branch_parameters, shard_axes
from suite.contract.workloads import Weights


class IntraLayerSession(PlacedSession):
    """Splits branches over the devices; norms, embeddings and the loss are on the first device."""

    def build(self, weights: Weights) -> Tensors:
        """Makes the variables: shards on their devices, the rest on the first device."""
        axes = shard_axes(self.spec)
        with tf.device(self.devices[0]):
            self.whole = {
                name: tf.Variable(self.tensor(array))
                for name, array in weights.items() if name not in axes
            }
        self.shards = [self._shard(weights, axes, part) for part in range(self.case.devices)]
        shards = {f"{name}@{part}": variable for part, shard in enumerate(self.shards)
                  for name, variable in shard.items()}
        return {**self.whole, **shards}

    def _shard(self, weights: Weights, axes: dict[str, int], part: int) -> Tensors:
        with tf.device(self.devices[part]):
            return {
                name: tf.Variable(
                    self.tensor(np.split(weights[name], self.case.devices, axis)[part])
                )
                for name, axis in axes.items()
            }

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts a batch on the first device, and features on all devices if every branch needs them.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """
        with tf.device(self.devices[0]):
            return self.spread(features), self.tensor(targets)

    def loss_and_gradients(
        self, features: list[tf.Tensor], targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss, and the gradient of every variable.

        Args:
            features: The features on each device that needs them.
            targets: The targets, on the first device.
        """
        if self.turn == 0:
            self.begin()
            self.before: list[list[tf.Tensor]] = [[] for _ in self.devices]
        plans = enumerate(self.spec.branches())
        copies = features if self.spec.side_input else features * self.case.devices
        holds = [held(self.spec, *pair, self.low)
                 for pair in zip(self.shards, copies, strict=True)]

        def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
            number, plan = next(plans)
            shares = [Share(branch, hold) for hold in holds]
            names = [f"{self.turn}.{number}.{turn}" for turn in range(sums(plan))]
            return self._apply(shares, x, names)

        with tf.device(self.devices[0]):
            logits = forward(self.spec, self.whole, features[0], apply=apply, low=self.low)
            loss = self.loss_function(logits, targets)
        # A tape would not do: only tf.gradients places a gradient beside its forward operation.
        tensors = tf.gradients(loss, list(self.variables.values()))
        gradients = dense_gradients(dict(zip(self.variables, tensors, strict=True)))
        if self.stamps.on:
            self._receive(gradients)
        return loss, gradients

    def _apply(self, shares: list[Share], x: tf.Tensor, names: list[str]) -> tf.Tensor:
        """Computes the shards of a branch side by side.

        The first device adds up their results and makes of each sum what enters the next layers.
        """
        for name in names:
            with tf.device(self.devices[0]):
                x = x if self.low is None else tf.cast(x, self.low)  # before it travels
            partials = []
            for part, device in enumerate(self.devices):
                copy = self.hop(x, 0, part, f"copy.{name}.{part}")
                with tf.device(device):
                    partial, finish = shares[part].advance(copy)
                partials.append(self.hop(partial, part, 0, f"partial.{name}.{part}"))
            with tf.device(self.devices[0]):
                x = finish(self.whole, tf.add_n(partials))
        return x

    def _receive(self, gradients: dict[str, tf.Tensor]) -> None:
        """Tells the probes for each transfer what its receiver did before it.

        That is what led to the sum before or, at the ends of the model, the receiver's own work.
        """
        steps = self._steps()

        def backward(number: int, part: int) -> list[tf.Tensor]:
            name, names = steps[number]
            sent = self.done.get(f"copy.{name}.{part}.gradient")
            return [gradients[f"{n}@{part}"] for n in names] + ([] if sent is None else [sent])

        for number, part in product(range(len(steps)), range(1, self.case.devices)):
            copy, partial = (f"{kind}.{steps[number][0]}.{part}" for kind in ("copy", "partial"))
            before = f"partial.{steps[number - 1][0]}.{part}"
            self.received(copy, [self.done[before]] if number else self.before[part])
            self.received(partial, [self.done[f"partial.{steps[number][0]}.0"]])
            last = number + 1 == len(steps)
            after = [self.done[partial]] if last else backward(number + 1, part)
            self.received(f"{partial}.gradient", after)
            if f"{copy}.gradient" in self.arrivals:  # an input of the model has no gradient
                self.received(f"{copy}.gradient", backward(number, 0))
        self.before = [backward(0, part) for part in range(self.case.devices)]

    def _steps(self) -> list[tuple[str, list[str]]]:
        """Lists the sums in forward order: name of their transfers, parameters behind them."""
        steps = []
        for number, plan in enumerate(self.spec.branches()):
            split = branch_parameters(self.spec, plan)
            behind = (plan.row, plan.middle.column) if plan.middle else ()
            later = [name for name in split if name.rpartition(".")[0] in behind]
            turns = [[name for name in split if name not in later], later][: sums(plan)]
            steps += [(f"{self.turn}.{number}.{i}", names) for i, names in enumerate(turns)]
        return steps

    def gather(self, arrays: dict[str, np.ndarray]) -> Weights:
        """Joins the shards of every parameter.

        Args:
            arrays: Name of a variable to its value.
        """
        axes = shard_axes(self.spec)

        def joined(name: str) -> Any:
            if name not in axes:
                return arrays[name]
            parts = [arrays[f"{name}@{part}"] for part in range(self.case.devices)]
            return np.concatenate(parts, axes[name])

        return {name: joined(name) for name in self.names}
