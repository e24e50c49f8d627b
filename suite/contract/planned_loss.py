"""How the loss is weighted when replicas have unequal shares of the global batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.contract.case import Case


# A function of (outputs, targets) that returns the mean loss over the samples.
Loss = Callable[[Any, Any], Any]


def share_weighted(loss: Loss, devices: int, global_batch: int) -> Loss:
    """Weights the mean loss of a replica so that the average over replicas is the true mean.

    Frameworks average gradients over replicas as if all had equally many samples. For a replica
    with n of N samples and gradient g, mean(n · devices / N · g) = sum(n / N · g).

    Args:
        loss: Mean loss over the samples that a replica passes through the model.
        devices: Number of replicas.
        global_batch: Samples that all replicas together pass through the model at a time, N. With
            gradient accumulation these are the samples of a micro-batch of every replica.

    Returns:
        The weighted loss; it reads n from the first axis of the targets.
    """

    def weighted(outputs: Any, targets: Any) -> Any:
        return loss(outputs, targets) * (targets.shape[0] * devices / global_batch)

    return weighted


def planned_loss(loss: Loss, case: Case) -> Loss:
    """Returns ``loss``, weighted if replicas may have unequal shares: by speed, or as balanced."""
    if case.strategy == "data" and (case.device_speeds or case.balances):
        return share_weighted(loss, case.devices, case.pass_batch)
    return loss
