"""The losses of models that predict tokens."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from adapters.pytorch.models import Loss
from suite.contract.workloads.transformer import NOT_PREDICTED


def token_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the mean cross-entropy over all tokens.

    Args:
        logits: (batch, sequence, vocabulary).
        targets: int64 (batch, sequence).

    Returns:
        A scalar.
    """
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def predicted_cross_entropy(predictions: int) -> Loss:
    """Makes the cross-entropy that averages over the predicted positions only.

    Args:
        predictions: Predicted positions in every sample.

    Returns:
        A function of logits (batch, sequence, vocabulary) and targets (batch, sequence), where
        ``NOT_PREDICTED`` marks the other positions.
    """

    def mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_PREDICTED, reduction="sum"
        )
        return total / (len(targets) * predictions)

    return mean
