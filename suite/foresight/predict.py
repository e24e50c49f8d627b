"""Predicts steps: by the constants of a stack, corrected by what was rehearsed on it."""

from __future__ import annotations

from suite.foresight.correction import corrected
from suite.foresight.machine import Stack
from suite.foresight.plans import Plans
from suite.foresight.step import Prediction, predict_by_constants
from suite.foresight.units import Model


def predict(model: Model, plans: Plans, stack: Stack) -> Prediction:
    """Predicts a step of every configuration.

    Args:
        model: Units in forward order; numbers, or arrays with an entry a configuration.
        plans: The configurations.
        stack: Machine and software, with what was rehearsed there.

    Returns:
        Seconds, rates and bytes of each configuration.
    """
    return corrected(predict_by_constants(model, plans, stack), model, plans, stack)
