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
        copied = np.where(alone, 0.0, unit.copied_split)
        per_unit = unit.parameters + (unit.parameters_split + copied) / plans.shards
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
    dropped = unit.outputs_split * (1.0 - software.selective_outputs)
    split = split - np.where(selective, dropped, 0.0)
    common = unit.kept - np.where(selective, unit.dropped, 0.0)
    everything = common / whole + split / plans.shards
    full = (plans.recompute == FULL) & (unit.place == "body")
    kept = np.where(full, unit.leaving / whole, everything) * software.activation_bytes
    return (kept + unit.logits / plans.shards * software.logit_bytes) * samples


def in_flight(plans: Plans, place: str = "first") -> Array:
    """Micro-batches whose activations the first or the last stage holds at once.

    GPipe holds all, 1F1B as many as there are stages before the last stage's one (Narayanan et al.
    2021, section 2.2). Of an interleaved pipeline's chunks the first stage holds
    1 + (p - 1) / (p v) times that (Korthikanti et al. 2022, section 4.2.3), and the last one v - 1
    rounds of p chunks before its first backward pass.
    """
    stages, parts = plans.stages, plans.micro_batches
    if place == "first":
        alternating = np.minimum(stages, parts)
        interleaved = alternating * (1.0 + (stages - 1.0) / (stages * plans.chunks))
    else:
        alternating = np.ones(len(plans))
        interleaved = ((plans.chunks - 1.0) * stages + 1.0) / plans.chunks
    held = np.where(plans.schedule == "interleaved", interleaved, alternating)
    held = np.where(np.isin(plans.schedule, ("gpipe", "naive")), parts, held)
    return cast(Array, np.where(stages > 1, np.minimum(held, parts), 1.0))


def activation_bytes(
    model: Model, plans: Plans, software: Software, place: str = "first"
) -> Array:
    """Bytes of activations on the first or the last stage.

    With full recompute a block's workspace is among them.
    """
    found: Numbers = np.zeros(len(plans))
    held = in_flight(plans, place)
    for unit in model:
        kept = kept_bytes(unit, plans, software)
        if unit.place == "body":
            found = found + kept * unit.repeats / plans.stages * held
            eager = Plans(**{**plans.__dict__, "recompute": np.zeros(len(plans))})
            again = kept_bytes(unit, eager, software)
            found = found + np.where(plans.recompute == FULL, again, 0.0)
        else:
            here = (plans.stages == 1) | (unit.place == place)
            # Of a last stage's chunks only one has the logits.
            once = (np.asarray(unit.logits) > 0) & (plans.schedule == "interleaved")
            found = found + np.where(here, kept * np.where(once, 1.0, held), 0.0)
    return cast(Array, found)


def peak_bytes(model: Model, plans: Plans, stack: Stack) -> Array:
    """Bytes of the fullest device: the first stage, which has most micro-batches in flight, or the
    last one, which has the logits.
    """
    software, machine = stack.software, stack.machine
    gathered = sum((np.where(unit.place == "body", unit.parameters_split, 0.0) / plans.shards
                    for unit in model), 0.0)
    workspace = np.where(plans.sharding == 3, 2.0 * gathered * software.weight_bytes, 0.0)
    first, last = (
        state_bytes(held_parameters(model, plans, place), plans, software)
        + activation_bytes(model, plans, software, place)
        for place in ("first", "last")
    )
    return np.maximum(first, last) + workspace + machine.reserved_bytes
