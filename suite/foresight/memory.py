"""Peak memory of the fullest device: parameters, gradients, states and kept activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import numpy as np

from suite.foresight.machine import Software, Stack
from suite.foresight.plans import FULL, SELECTIVE, Plans
from suite.foresight.stages import end_repeats
from suite.foresight.units import Array, Model, Numbers, Unit


def held_parameters(
    model: Model, plans: Plans, place: str, by_parameters: bool = False
) -> Array:
    """Parameters on one device of the first, the last, or (``body``) a middle stage."""
    found: Numbers = np.zeros(len(plans))
    for unit in model:
        alone = plans.stages == 1
        here = alone | (unit.place in ("body", place))
        body = unit.place == "body"
        repeats = end_repeats(unit, model, plans, place, by_parameters) if body else 1.0
        copied = np.where(alone, 0.0, unit.copied_split)
        per_unit = unit.parameters + (unit.parameters_split + copied) / plans.shards
        found = found + np.where(here, repeats * per_unit, 0.0)
    return cast(Array, found)


def gradient_bytes(held: Array, plans: Plans, software: Software) -> Array:
    """Bytes of the gradients that are held until the update; stage 2 divides them."""
    ways = plans.replicas * plans.context
    return held * software.held_gradient_bytes / np.where(plans.sharding >= 2, ways, 1.0)


def state_bytes(held: Array, plans: Plans, software: Software) -> Array:
    """Bytes of parameters, gradients and optimiser states (Rajbhandari et al. 2020, section 3).

    Stage 1 divides the states by the number of replicas, stage 2 the gradients too, stage 3 all.
    """
    ways = plans.replicas * plans.context
    states = software.state_bytes / np.where(plans.sharding >= 1, ways, 1.0)
    weights = np.where(plans.sharding >= 3, software.sharded_weight_bytes / ways,
                       software.weight_bytes)
    return held * (states + weights) + gradient_bytes(held, plans, software)


def kept_bytes(unit: Unit, plans: Plans, software: Software) -> Array:
    """Bytes that one such unit keeps of one micro-batch for its backward pass.

    With full recompute only the input is kept. Selective recompute drops what attention keeps of
    its scores (Korthikanti et al. 2022, section 4), or where attention is one kernel, everything
    but the outputs of products.
    """
    whole = np.where(plans.sequence_parallel > 0, plans.shards, 1.0)
    samples = plans.micro_batch / plans.context
    selective = (plans.recompute == SELECTIVE) & (unit.place == "body")
    split = unit.kept_split - np.where(selective, unit.dropped_split, 0.0)
    dropped = unit.outputs_split * (1.0 - software.selective_outputs)
    split = split - np.where(selective, dropped, 0.0)
    again = unit.leaving * software.selective_block_outputs
    common = unit.kept - np.where(selective, unit.dropped - again, 0.0)
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
    held = in_flight(plans, place)
    workspace = np.where(plans.recompute == FULL, block_bytes(model, plans, software), 0.0)
    return stage_bytes(model, plans, software, place, held) + workspace


def block_bytes(model: Model, plans: Plans, software: Software) -> Array:
    """Bytes of what the largest block keeps of a micro-batch without recomputation."""
    eager = Plans(**{**plans.__dict__, "recompute": np.zeros(len(plans))})
    return _largest(kept_bytes(unit, eager, software) for unit in model if unit.place == "body")


def stage_bytes(
    model: Model, plans: Plans, software: Software, place: str, held: Array
) -> Array:
    """Bytes that the first or last stage keeps of ``held`` micro-batches."""
    found: Numbers = np.zeros(len(plans))
    for unit in model:
        kept = kept_bytes(unit, plans, software)
        if unit.place == "body":
            repeats = end_repeats(unit, model, plans, place, software.cuts_by_parameters)
            found = found + kept * repeats * held
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
    first, last = (_fullest_moment(model, plans, stack.software, end) for end in ("first", "last"))
    return np.maximum(first, last) + stack.machine.reserved_bytes


def _fullest_moment(model: Model, plans: Plans, software: Software, place: str) -> Array:
    """The fullest of three moments: in the loss, in a block's backward pass, and after the pass.

    Logits are gone before a block is recomputed, and what a backward pass makes of gradients grows
    while activations leave.
    """
    held = held_parameters(model, plans, place, software.cuts_by_parameters)
    passing = gradient_bytes(held, plans, software) * software.gradients_pass
    alone = (plans.sharding == 0) & (plans.replicas * plans.context > 1)
    standing = (state_bytes(held, plans, software) - passing
                + np.where(alone, held * software.bucket_bytes, 0.0))
    flying = in_flight(plans, place)
    gathered, reduced = gathered_bytes(model, plans, software, place)
    forward = stage_bytes(model, plans, software, place, flying)
    without = tuple(replace(unit, logits=0.0) for unit in model)
    kept = stage_bytes(without, plans, software, place, flying)
    recomputing = np.where(plans.recompute > 0, _recomputed_bytes(model, plans, software), 0.0)
    rest = stage_bytes(without, plans, software, place, flying - 1.0)
    after = rest + passing + held * software.passing_gradient_bytes
    moments = (forward + gathered, kept + recomputing + gathered + reduced, after + gathered)
    return cast(Array, standing + np.maximum.reduce([m * np.ones(len(plans)) for m in moments]))


def _recomputed_bytes(model: Model, plans: Plans, software: Software) -> Array:
    """Bytes of a block that is computed again, beyond what it has kept; all of it at full."""
    eager = Plans(**{**plans.__dict__, "recompute": np.zeros(len(plans))})
    full = plans.recompute == FULL
    return _largest(
        kept_bytes(unit, eager, software) - np.where(full, 0.0, kept_bytes(unit, plans, software))
        for unit in model if unit.place == "body")


def _largest(blocks: Iterable[Array]) -> Array:
    """One block at a time: where they differ, the largest."""
    return cast(Array, np.maximum.reduce(list(blocks)))


def gathered_bytes(
    model: Model, plans: Plans, software: Software, place: str
) -> tuple[Array, Array]:
    """Bytes of whole parameters beside their shards, and of gradients before they are scattered.

    Two blocks are whole at a time, of which one is computed with and one gathered ahead. In a
    block's backward pass its gradients are whole too, once as they are computed and once as they
    are sent (``MixedPrecisionPolicy`` of PyTorch's FSDP).
    """
    block = _largest(unit.parameters_split * np.ones(len(plans))
                     for unit in model if unit.place == "body")
    ends = sum((np.where((plans.stages == 1) | (unit.place == place), unit.parameters_split, 0.0)
                for unit in model if unit.place != "body"), 0.0)
    sharded = plans.sharding == 3
    whole = (2.0 * block + software.gathers_ends * ends) * software.weight_bytes
    sent = block * (software.weight_bytes + software.gradient_bytes)
    return (cast(Array, np.where(sharded, whole / plans.shards, 0.0)),
            cast(Array, np.where(sharded, sent / plans.shards, 0.0)))
