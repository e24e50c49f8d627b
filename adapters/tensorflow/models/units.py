"""Units of a model: what a pipeline may cut between, and what a backward pass may compute again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

Unit = Callable[[tf.Tensor], tf.Tensor]
# Numbers of the units recomputed so far in the forward pass that is being traced; None where units
# keep what the backward pass needs.
_RECOMPUTED: ContextVar[list[int] | None] = ContextVar("recomputed", default=None)


def unit(compute: Unit, x: tf.Tensor) -> tf.Tensor:
    """Computes a unit of a model; every model passes each of its units through here.

    Args:
        compute: Computes the unit. It may read variables; gradients flow to these and to ``x``.
        x: What enters the unit.

    Returns:
        What leaves the unit.
    """
    recomputed = _RECOMPUTED.get()
    if recomputed is None:
        return compute(x)
    recomputed.append(len(recomputed))
    return tf.recompute_grad(compute)(x)


@contextmanager
def recomputing() -> Iterator[list[int]]:
    """Where units keep their input alone; yields the numbers of those that were computed."""
    recomputed: list[int] = []
    token = _RECOMPUTED.set(recomputed)
    try:
        yield recomputed
    finally:
        _RECOMPUTED.reset(token)
