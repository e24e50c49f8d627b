"""Pipeline stages whose layers may move between training steps, with their optimiser's states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from adapters.tensorflow.training.balanced import TellsBusy
from suite.contract.adapter import Inputs
from suite.contract.case import Case
from suite.contract.splits.stages import moved_weights
from suite.contract.workloads import Weights, Workload


class MovedLayers(TellsBusy):
    """Trains a stage in a process of its own; implements ``suite.contract.adapter.TakesCuts``.

    The class that derives from it builds the stage of ``self.cut`` and says how a process gives an
    array to another one.

    Args:
        case: What is trained, and how.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
        devices: Names of the devices that this process drives.
    """

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.cut = case.planned_cut
        super().__init__(case, weights, inputs, devices)

    def give(self, name: str, array: np.ndarray, giver: int) -> np.ndarray:
        """Copies an array from one stage to the others; a call of every process.

        Args:
            name: Canonical name of the parameter that moves.
            array: What the giver has; on the others only its shape and type count.
            giver: Number of the stage that has it.

        Returns:
            The giver's array.
        """
        raise NotImplementedError

    def take_cut(self, cut: Sequence[int]) -> None:
        """Moves layers, and trains on another cut from the next step on.

        Layers that stay keep their variables. The graph of the new stage is traced here, so that no
        step takes as much longer.

        Args:
            cut: Number of units of each stage.
        """
        goes = moved_weights(self.spec, self.cut, cut)
        held, before = self.variables, self.optimizer
        arrived = {name: self.give(name, self._packed(name), giver)
                   for name, (giver, _) in goes.items()}
        self.cut = tuple(cut)
        kept = {name: variable for name, variable in held.items() if name not in goes}
        self.variables = {**self.build(_nothing(self.spec)), **kept}
        self.optimizer = self.make_optimizer()
        self.optimizer.count.assign(before.count)
        self.optimizer.slots |= {name: before.slots[name] for name in kept}
        for name in self.variables.keys() & arrived.keys():
            parts = (self.variables[name], *self.optimizer.slots[name])
            for variable, values in zip(parts, arrived[name], strict=True):
                variable.assign(values)
        self.train = self.new_graph()
        self.train.get_concrete_function(*self.batches[0])  # type: ignore[attr-defined]

    def _packed(self, name: str) -> np.ndarray:
        """A variable and its moments, (3, …); zeros where another process has them."""
        if name not in self.variables:
            return np.zeros((3, *self.spec.shapes()[name]), self.dtype.as_numpy_dtype)
        parts: list[tf.Variable] = [self.variables[name], *self.optimizer.slots[name]]
        return np.stack([part.numpy() for part in parts])


def _nothing(spec: Workload) -> Weights:
    """Stands for all weights of a model; nothing is written, so they take no memory."""
    return {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
