"""Losses over tokens."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from adapters.pytorch.models import Loss
from suite.contract.workloads.transformer import NOT_PREDICTED


def token_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over all tokens."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def predicted_cross_entropy(predictions: int) -> Loss:
    """Mean over the predicted positions, ``predictions`` of each sample."""

    def mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_PREDICTED, reduction="sum"
        )
        return total / (len(targets) * predictions)

    return mean
