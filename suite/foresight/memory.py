"""Peak memory of the fullest device: parameters, gradients, states and kept activations."""

from __future__ import annotations

from typing import cast

import numpy as np

from suite.foresight.machine import Software, Stack
from suite.foresight.plans import FULL, SELECTIVE, Plans
from suite.foresight.units import Array, Model, Numbers, Unit


def held_parameters(model: Model, plans: Plans, place: str) -> Array:
    """Parameters on one device of the first, the last, or (``body``) a middle stage."""
    found: Numbers = np.zeros(len(plans))
    for unit in model:
        alone = plans.stages == 1
        here = alone | (unit.place in ("body", place))
        repeats = unit.repeats / plans.stages if unit.place == "body" else 1.0
        per_unit = unit.parameters + unit.parameters_split / plans.shards
        found = found + np.where(here, repeats * per_unit, 0.0)
    return cast(Array, found)


def state_bytes(held: Array, plans: Plans, software: Software) -> Array:
    """Bytes of parameters, gradients and optimiser states (Rajbhandari et al. 2020, section 3).

    Stage 1 divides the states by the number of replicas, stage 2 the gradients too, stage 3 all.
    """
    ways = plans.replicas * plans.context
    states = software.state_bytes / np.where(plans.sharding >= 1, ways, 1.0)
    gradients = software.held_gradient_bytes / np.where(plans.sharding >= 2, ways, 1.0)
    weights = software.weight_bytes / np.where(plans.sharding >= 3, ways, 1.0)
    return held * (states + gradients + weights)


def kept_bytes(unit: Unit, plans: Plans, software: Software) -> Array:
    """Bytes that one such unit keeps of one micro-batch for its backward pass.

    With full recompute only the input is kept. Selective recompute drops what attention keeps of
    its scores (Korthikanti et al. 2022, section 4), or where attention is one kernel, everything
    but the outputs of products.
    """
    whole = np.where(plans.sequence_parallel > 0, plans.shards, 1.0)
    samples = plans.micro_batch / plans.context
    selective = plans.recompute == SELECTIVE
    split = unit.kept_split - np.where(selective, unit.dropped_split, 0.0)
    common = unit.kept - np.where(selective, unit.dropped, 0.0)
    everything = common / whole + split / plans.shards
    full = (plans.recompute == FULL) & (unit.place == "body")
    kept = np.where(full, unit.leaving / whole, everything)
    return kept * samples * software.activation_bytes


def in_flight(plans: Plans) -> Array:
    """Micro-batches whose activations the first stage holds at once.

    GPipe holds all, 1F1B as many as there are stages (Narayanan et al. 2021, section 2.2), an
    interleaved pipeline 1 + (p - 1) / (p v) times that (Korthikanti et al. 2022, section 4.2.3).
    """
    stages, parts = plans.stages, plans.micro_batches
    alternating = np.minimum(stages, parts)
    interleaved = alternating * (1.0 + (stages - 1.0) / (stages * plans.chunks))
    held = np.where(plans.schedule == "interleaved", interleaved, alternating)
    held = np.where(np.isin(plans.schedule, ("gpipe", "naive")), parts, held)
    return cast(Array, np.where(stages > 1, np.minimum(held, parts), 1.0))


def activation_bytes(model: Model, plans: Plans, software: Software) -> Array:
    """Bytes of activations on the first stage, with a block's workspace under full recompute."""
    found: Numbers = np.zeros(len(plans))
    for unit in model:
        kept = kept_bytes(unit, plans, software)
        if unit.place == "body":
            found = found + kept * unit.repeats / plans.stages * in_flight(plans)
            eager = Plans(**{**plans.__dict__, "recompute": np.zeros(len(plans))})
            again = kept_bytes(unit, eager, software)
            found = found + np.where(plans.recompute == FULL, again, 0.0)
        elif unit.place == "first":
            found = found + kept * in_flight(plans)
        else:
            found = found + np.where(plans.stages == 1, kept, 0.0)
    return cast(Array, found)


def peak_bytes(model: Model, plans: Plans, stack: Stack) -> Array:
    """Bytes of the fullest device at the end of its first backward pass."""
    software, machine = stack.software, stack.machine
    held = np.maximum(held_parameters(model, plans, "first"),
                      held_parameters(model, plans, "last"))
    states = state_bytes(held, plans, software)
    gathered = sum((np.where(unit.place == "body", unit.parameters_split, 0.0) / plans.shards
                    for unit in model), 0.0)
    workspace = np.where(plans.sharding == 3, 2.0 * gathered * software.weight_bytes, 0.0)
    total = states + activation_bytes(model, plans, software) + workspace
    return total + machine.reserved_bytes
