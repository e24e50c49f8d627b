"""A model that returns its loss, so that one compiled graph has both."""

from __future__ import annotations

import functools

import torch
from torch import nn

from adapters.pytorch.models import Loss


def join_loss(model: nn.Module, loss: Loss) -> None:
    """Makes a model take features and targets, and return the loss instead of its output.

    It wraps the model's own ``forward`` rather than the call to it, so that every strategy can wrap
    the model in its own way.

    Args:
        model: The whole model, before it is compiled; it is changed in place.
        loss: Mean loss of (output, targets).
    """
    forward = model.forward

    @functools.wraps(forward)  # what an earlier wrapper has marked, too
    def joined(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return loss(forward(features), targets)

    model.forward = joined
