"""Data parallel over towers: each replica is split over a group of logical devices.

MirroredStrategy gives a replica one device only. Here a replica is a tower of manual placement,
with a copy of the variables on several devices. One graph holds all towers, averages their
gradients variable by variable once a step, and updates each copy (in-graph replication, Abadi et
al. 2016, section 4.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.splits.placement import PlacedSession
from adapters.tensorflow.training.optimizer import Adam
from adapters.tensorflow.training.single import Training
from adapters.tensorflow.training.stamps import TowerStamps, size_bytes
from adapters.tensorflow.training.xplane import REDUCTION_SCOPE
from suite.contract.adapter import Inputs
from suite.contract.case import Case
from suite.contract.splits.batches import batch_slice
from suite.contract.splits.mesh import mesh_of, mesh_text, parts_of
from suite.contract.workloads import Weights


class TowersSession(Training):
    """Trains ``towers[i]`` on share ``i`` of the batch, and averages gradients over the towers."""

    def __init__(
        self, placed: type[PlacedSession], case: Case, weights: Weights, inputs: Inputs,
        devices: list[str],
    ) -> None:
        nothing = Inputs(inputs.features[:0], inputs.targets[:0], inputs.batch)
        self.ranks = towers_of(case)
        inner = [tower_case(case, len(ranks)) for ranks in self.ranks]
        self.towers = [
            placed(own, weights, nothing, [devices[rank] for rank in ranks])
            for own, ranks in zip(inner, self.ranks, strict=True)
        ]
        super().__init__(case, weights, inputs, devices)
        for number, (tower, ranks) in enumerate(zip(self.towers, self.ranks, strict=True)):
            tower.stamps = TowerStamps(self.stamps, ranks, f"@{number}")

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Puts each tower's share of a batch on the devices of that tower.

        Args:
            features: (samples, …) of the global batch.
            targets: (samples, …) of the global batch.
        """
        shares = [batch_slice(len(features), len(self.towers), number)
                  for number in range(len(self.towers))]
        placed = [tower.place(features[share], targets[share])
                  for tower, share in zip(self.towers, shares, strict=True)]
        return [x for x, _ in placed], [y for _, y in placed]

    def build(self, weights: Weights) -> Tensors:
        """Returns the variables of the first tower, which are reported for all."""
        return self.towers[0].variables

    def make_optimizer(self) -> Adam:
        """Returns the optimiser of the first tower, which is reported for all."""
        return self.towers[0].optimizer

    def tower_gradients(
        self, features: Sequence[Any], targets: Sequence[Any]
    ) -> tuple[tf.Tensor, list[dict[str, tf.Tensor]]]:
        """Computes the mean loss, and for each tower the mean gradients on its own devices.

        Args:
            features: The features of each tower.
            targets: The targets of each tower.
        """
        losses, by_tower = [], []
        for tower, x, y in zip(self.towers, features, targets, strict=True):
            tower.silent = self.silent
            loss, gradients = tower.batch_gradients(x, y)
            losses.append(loss)
            by_tower.append(gradients)
        with tf.device(self.devices[0]):
            loss = tf.add_n(losses) / len(losses)
        if self.silent:
            return loss, by_tower
        means = {name: self._mean(name, [gradients[name] for gradients in by_tower])
                 for name in by_tower[0]}
        return loss, [{name: each[number] for name, each in means.items()}
                      for number in range(len(self.towers))]

    def _mean(self, name: str, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Averages a gradient on the first tower's device, and copies it to each tower's own."""
        devices = [self._number(tower.variables[name]) for tower in self.towers]
        stamps = self.stamps
        ready = [stamps.mark(*pair) for pair in self._each(devices, parts)] if stamps.on else []
        with tf.name_scope(REDUCTION_SCOPE):
            with tf.device(self.devices[devices[0]]):
                mean = tf.add_n(parts) / len(parts)
            copies = []
            for device in devices:
                with tf.device(self.devices[device]):
                    copies.append(tf.identity(mean))
        key, size = f"gradient.{name}", size_bytes(mean)
        for device, start, copy in zip(devices, ready, copies, strict=False):
            stamps.member("all_reduce", key, device, size, start, stamps.mark(device, [copy]))
        return copies

    def _number(self, variable: tf.Variable) -> int:
        """Returns 3 for a variable on ``/job:localhost/…/device:CPU:3``, the device ``/CPU:3``."""
        return next(number for number, name in enumerate(self.devices)
                    if variable.device.endswith(name.removeprefix("/")))

    @staticmethod
    def _each(devices: list[int], parts: list[tf.Tensor]) -> list[tuple[int, list[tf.Tensor]]]:
        return [(device, [part]) for device, part in zip(devices, parts, strict=True)]

    def training_step(self, features: Any, targets: Any) -> tf.Tensor:
        """Trains one step in every tower, inside a graph, and returns its loss.

        Args:
            features: The features of each tower.
            targets: The targets of each tower.
        """
        loss, gradients = self.tower_gradients(features, targets)
        for tower, mean in zip(self.towers, gradients, strict=True):
            tower.optimizer.apply(mean)
        return loss

    def gradients(self) -> Weights:
        """Returns the whole gradients of the first step, under canonical names."""
        return self.towers[0].gather(dict(super().gradients()))

    def parameters(self) -> Weights:
        """Returns the whole parameters, under canonical names."""
        return self.towers[0].gather(dict(super().parameters()))

    def silent_step(self, index: int) -> None:
        """Runs a step with communication switched off."""
        for tower in self.towers:
            tower.make_blanks()
        super().silent_step(index)


def towers_of(case: Case) -> list[list[int]]:
    """Returns the devices of each replica, in the order of the axes along which it is split."""
    mesh = case.axes
    ranks = range(mesh.devices)
    return [[rank for rank in ranks if mesh.place("data", rank) == number]
            for number in range(mesh.size("data"))]


def tower_case(case: Case, devices: int) -> Case:
    """Returns the case that one replica is by itself.

    Args:
        case: The whole case.
        devices: Number of devices of a replica.
    """
    strategy = "+".join(part for part in parts_of(case.strategy) if part != "data")
    sizes = ",".join(f"{part}={case.axes.size(part)}" for part in parts_of(strategy))
    mesh = mesh_of(strategy, devices, sizes)
    return replace(case, strategy=strategy, devices=devices, mesh=mesh_text(strategy, mesh))
