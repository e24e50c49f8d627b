"""The losses: each is a mean over samples and tokens, and none is computed in less than float32."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from adapters.pytorch.models import Loss
from suite.contract.workloads.transformer import NOT_PREDICTED

# Entries of logits that are worked on at a time, by type of device: their float32 copies are all
# that the loss adds to the logits' memory. On a CPU they stay in the caches; on a GPU an operation
# has to take longer than the host needs to launch the next one.
ENTRIES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
# Logits of fewer entries cost less in PyTorch's own loss, which is fewer calls.
FEWEST_ENTRIES = 1 << 17


def class_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the mean over logits (batch, classes) and targets int64 (batch,)."""
    return functional.cross_entropy(_full(logits), targets)


def binary_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the mean over logits (batch, 1) and targets (batch,) of 0 and 1."""
    logits = _full(logits).squeeze(-1)
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def token_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the mean cross-entropy over all tokens; the logits cannot be used afterwards.

    Args:
        logits: (batch, sequence, vocabulary).
        targets: int64 (batch, sequence).

    Returns:
        A scalar.
    """
    return _mean(logits.flatten(0, 1), targets.flatten())


def predicted_cross_entropy(predictions: int) -> Loss:
    """Makes the cross-entropy that averages over the predicted positions only.

    Args:
        predictions: Predicted positions in every sample.

    Returns:
        A function of logits (batch, sequence, vocabulary) and targets (batch, sequence), where
        ``NOT_PREDICTED`` marks the other positions.
    """

    def mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        labels = targets.flatten()
        # Their number is known, so that a GPU need not tell it before the step can go on.
        rows = (labels != NOT_PREDICTED).nonzero_static(size=len(targets) * predictions)[:, 0]
        return _mean(logits.flatten(0, 1).index_select(0, rows), labels.index_select(0, rows))

    return mean


def _mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the mean over logits (rows, vocabulary) and targets (rows,).

    A compiler writes the softmax and its gradient straight into the logits' gradient. Eager PyTorch
    would hold the logits' logarithm and two gradients of that size beside them.
    """
    small = logits.numel() < FEWEST_ENTRIES
    if small or torch.compiler.is_compiling() or not logits.requires_grad:
        return functional.cross_entropy(_full(logits), targets)
    mean: torch.Tensor = _CrossEntropy.apply(logits, targets)
    return mean


class _CrossEntropy(torch.autograd.Function):
    """The mean cross-entropy; its gradient takes the memory of the logits, a few rows at a time.

    The product that computes logits needs its factors in the backward pass and not its result. An
    operation that does need it would notice: PyTorch counts the writes to a tensor.
    """

    @staticmethod
    def forward(context: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean over logits (rows, vocabulary) and targets (rows,)."""
        at_once = max(1, ENTRIES_AT_ONCE[logits.device.type] // logits.shape[1])
        context.gradient = logits.detach()
        parts = zip(context.gradient.split(at_once), targets.split(at_once), strict=True)
        return torch.cat([_losses(part, of, len(targets)) for part, of in parts]).mean()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the gradient of the logits, in their format."""
        whole, context.gradient = context.gradient, None  # a loss that is kept does not keep it
        return whole.mul_(gradients[0]), None


def _losses(logits: torch.Tensor, targets: torch.Tensor, count: int) -> torch.Tensor:
    """Returns the loss of each row, and replaces the logits by the gradient of the mean loss.

    The largest share of a softmax is the exponential of 0 over the sum, so it tells that sum: no
    second pass of exponentials is needed.

    Args:
        logits: (rows, vocabulary); overwritten.
        targets: int64 (rows,).
        count: Rows of all parts, over which the mean is taken.

    Returns:
        (rows,), in float32 or float64.
    """
    full, labels = _full(logits), targets[:, None]
    highest, at_target = full.amax(1, keepdim=True), full.gather(1, labels)
    shares = full.softmax(1)
    losses = highest - at_target - shares.amax(1, keepdim=True).log()
    shares.scatter_add_(1, labels, shares.new_full(labels.shape, -1.0))
    if shares.dtype == logits.dtype or logits.is_cuda:
        torch.div(shares, count, out=logits)
    else:  # on a CPU PyTorch divides into another format by way of a further copy
        logits.copy_(shares.div_(count))
    return losses[:, 0]


def _full(logits: torch.Tensor) -> torch.Tensor:
    """Converts to float32 what has fewer bits, and leaves other types alone."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
