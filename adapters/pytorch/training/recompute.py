"""Activation checkpointing of a model's units (Chen et al. 2016)."""

from __future__ import annotations

from functools import partial
from typing import cast

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_units(model: nn.Module) -> None:
    """Makes every unit keep its input alone and compute its inside again in the backward pass.

    It wraps the units' own ``forward`` rather than the calls to them, so that hooks which a
    strategy attaches to a unit, such as those of ``fully_shard``, stay outside and run once. A unit
    is always recomputed to its end: PyTorch would stop at the last tensor that it needs, and
    whether a unit that is split over devices repeats its last all-reduce would depend on the model.

    Args:
        model: The model or stage; it is changed in place.
    """
    for unit in cast(nn.ModuleDict, model.units).values():
        unit.forward = partial(
            checkpoint, unit.forward, use_reentrant=False, early_stop=False,
            preserve_rng_state=False,  # no workload draws random numbers
        )
