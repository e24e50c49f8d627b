"""The loss of replicas whose shares of the global batch are unequal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.contract.case import Case


Loss = Callable[[Any, Any], Any]


def share_weighted(loss: Loss, devices: int, global_batch: int) -> Loss:
    """A device's mean loss, weighted so that the devices' mean is the global batch's.

    Where gradients accumulate it is of one micro-batch of each device, ``global_batch`` of all.

    Frameworks average gradients over devices, as if each had the same share: with n of N samples,
    mean(n · devices / N · g) = sum(n / N · g).
    """

    def weighted(outputs: Any, targets: Any) -> Any:
        return loss(outputs, targets) * (targets.shape[0] * devices / global_batch)

    return weighted


def planned_loss(loss: Loss, case: Case) -> Loss:
    """``loss``, weighted where replicas have shares by their speeds."""
    if case.strategy == "data" and case.device_speeds:
        return share_weighted(loss, case.devices, case.pass_batch)
    return loss
