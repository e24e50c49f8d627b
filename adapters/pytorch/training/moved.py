"""Pipeline stages whose layers may move between training steps, with their optimiser's states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from adapters.pytorch.models import layout, torch_name
from adapters.pytorch.training.balanced import Gathered, TellsBusy
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.splits.stages import moved_weights
from suite.contract.workloads import Weights, Workload

# What of an optimiser's state is moved beside a parameter, whose shape it has.
MOMENTS = ("exp_avg", "exp_avg_sq")


class MovedLayers(TellsBusy):
    """Trains the layers of a stage; implements ``suite.contract.adapter.TakesCuts``.

    A step's busy seconds travel while the next one runs. The class that derives from it builds the
    stage of ``self.cut`` and says how a rank gives a tensor to another one.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
        device: The device from ``open_device``.
    """

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.cut = case.planned_cut
        self._begun: list[Gathered] = []
        super().__init__(case, rank, weights, inputs, device)

    @property
    def stage(self) -> int:
        """The number of the stage that this rank has."""
        raise NotImplementedError

    def give(self, name: str, tensor: torch.Tensor, giver: int, taker: int) -> None:
        """Copies a tensor from one stage to another; a call of every rank.

        Args:
            name: Canonical name of the parameter that moves.
            tensor: What the giver has; on the taker it is overwritten, on others it is scratch.
            giver: Number of the stage that has it.
            taker: Number of the stage that gets it.
        """
        raise NotImplementedError

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """
        if self._begun:
            self._travelling, self._begun = [*self._travelling, *self._begun], []
        super().tell_busy(on)

    def step(self, index: int) -> torch.Tensor:
        """Runs one training step on global batch ``index`` and counts what it is busy for.

        Args:
            index: Number of the global batch.

        Returns:
            The loss; zero on ranks without the last stage.
        """
        clock = self._busy_clock
        if clock is None:
            return super().step(index)
        self._travelling, self._begun = self._begun, []
        began, self._idle_s = clock.seconds(), 0.0
        loss = super().step(index)
        if gathered := self.keep_busy(clock.seconds() - began - self._idle_s):
            self._begun.append(gathered)
        return loss

    def take_cut(self, cut: Sequence[int]) -> None:
        """Moves layers, and trains on another cut from the next step on.

        Layers that stay keep their tensors. A stage is built anew around them, because which layers
        it has decides what a model's forward pass does.

        Args:
            cut: Number of units of each stage.
        """
        goes = moved_weights(self.spec, self.cut, cut)
        held, states = self.named_parameters(), self.optimizer.state
        steps = next(iter(states.values()))["step"]
        self.optimizer.zero_grad()
        self.cut = tuple(cut)
        self.model = self.build(_nothing(self.spec))
        _keep(self.modules()[0], {name: held[name] for name in held if name not in goes})
        self.optimizer = self.make_optimizer()
        now = self.named_parameters()
        self.optimizer.state.update({now[name]: states[now[name]] for name in now
                                     if name not in goes})
        for name, (giver, taker) in goes.items():
            packed = self._packed(name, held.get(name), states)
            self.give(name, packed, giver, taker)
            if taker == self.stage:
                self.optimizer.state[now[name]] = _unpacked(now[name], packed, steps)

    def _packed(self, name: str, parameter: Any, states: dict[Any, Any]) -> torch.Tensor:
        """A parameter and its moments, (3, …); with no values where another rank has them."""
        if parameter is not None:
            parts = [parameter.detach(), *(states[parameter][moment] for moment in MOMENTS)]
            return torch.stack(parts).contiguous()
        shape = self.spec.shapes()[name]
        own = (shape[axis] for axis in layout(name, len(shape)))
        return torch.empty(1 + len(MOMENTS), *own, dtype=self.dtype, device=self.device)


def _keep(model: nn.Module, held: dict[str, torch.Tensor]) -> None:
    """Puts parameters that a rank has already into a model, by canonical name."""
    for name, parameter in held.items():
        path, _, leaf = torch_name(name).rpartition(".")
        setattr(model.get_submodule(path), leaf, parameter)


def _unpacked(
    parameter: torch.Tensor, packed: torch.Tensor, steps: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Fills a parameter; returns its optimiser's state, laid out in memory as it is."""
    parameter.detach().copy_(packed[0])
    moments = {name: torch.empty_like(parameter).detach().copy_(part)
               for name, part in zip(MOMENTS, packed[1:], strict=True)}
    return {"step": steps.clone(), **moments}


def _nothing(spec: Workload) -> Weights:
    """Stands for all weights of a model; nothing is written, so they take no memory."""
    return {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
