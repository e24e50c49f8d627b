"""Corrects predictions of a whole model by rehearsals: trainings of its first units.

Constants of single operations know nothing of what happens where a step's parts meet: threads of
the transport that wait for the core, operations that a library dispatches one by one, hops that
arrive while a stage computes. A rehearsal trains a shallow model, at full width, in the way that is
asked for. What its step takes over what its parts are predicted to take holds for the whole model
as well, since the same parts meet there; and so does what a call takes inside a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from suite.foresight.collectives import FREE, ring_link
from suite.foresight.machine import Link, Software, Stack
from suite.foresight.plans import Plan, Plans, plans_of
from suite.foresight.rehearsal import AXES, Calls, Rehearsal, Rehearsed, axes_of
from suite.foresight.sharded import gradient_seconds
from suite.foresight.step import (
    Prediction,
    fullest_stage,
    hops_on,
    predict_by_constants,
    sum_seconds,
)
from suite.foresight.units import Array, Model

# How well a way was rehearsed: itself; another schedule, sharding or number of devices of it, or
# each of its axes alone; not at all.
EXACT, BORROWED, NOT = 1.0, 0.5, 0.0
KIND = (*AXES, "context", "sharding")


def rehearsed_ways(rehearsals: Sequence[Rehearsal], stack: Stack) -> tuple[Rehearsed, ...]:
    """Lays rehearsals beside what a stack predicts of them, those of one way together."""
    ways: dict[tuple[object, ...], list[tuple[float, float, Rehearsal]]] = {}
    for one in rehearsals:
        plan, plans = one.plan, plans_of([one.plan])
        found = predict_by_constants(one.model, plans, stack)
        schedule = plan.schedule if plan.stages > 1 else ""
        key = (*(getattr(plan, name) for name in KIND), schedule)
        ways.setdefault(key, []).append(
            (float(pass_seconds(found, plans)[0]), float(found.step_s[0]), one))
    return tuple(_beside(sorted(same, key=lambda each: each[0]), stack.software)
                 for same in ways.values())


def _beside(same: Sequence[tuple[float, float, Rehearsal]], software: Software) -> Rehearsed:
    calls_s = [
        float(calls_seconds(one.model, plans_of([one.plan]), one.calls, software)[0])
        if one.calls else 0.0 for _, _, one in same]
    return Rehearsed(
        same[0][2].plan, pass_s=np.array([pass_s for pass_s, _, _ in same]),
        step_factor=np.array([one.step_s / predicted for _, predicted, one in same]),
        calls=tuple(one.calls for _, _, one in same), calls_s=np.array(calls_s),
    )


def pass_seconds(found: Prediction, plans: Plans) -> Array:
    """Predicted seconds of both passes of a micro-batch on the mean device."""
    return found.compute_s / plans.micro_batches


def calls_seconds(model: Model, plans: Plans, calls: Calls, software: Software) -> Array:
    """Seconds of a step's calls one after another, each as long as in the steps of a rehearsal."""
    ways = np.maximum(plans.replicas, plans.shards)
    link = ring_link(calls.latency_s, calls.alpha_s_per_byte, ways)
    hop = Link(calls.latency_s, 1.0 / max(calls.alpha_s_per_byte, FREE))
    sent = replace(software, first_calls=calls.first_calls, call_bytes=calls.call_bytes)
    sums = np.zeros(len(plans))
    for unit in model:
        forward, backward = sum_seconds(unit, plans, link, sent)
        sums = sums + unit.repeats * (forward + backward)
    hops = 2.0 * plans.chunks * hops_on(hop, model, plans, sent)
    gradients = gradient_seconds(fullest_stage(model, plans, sent), plans, link, sent)
    return plans.micro_batches * (sums + hops) + gradients


def corrected(found: Prediction, model: Model, plans: Plans, stack: Stack) -> Prediction:
    """What the rehearsals of a stack make of a prediction; the same where there are none.

    A split of which only the axes were rehearsed, each alone, takes the largest of their factors:
    what slows a part of it slows the whole. Its communication stays as it was predicted.
    """
    if not stack.rehearsed:
        return found
    pass_s = pass_seconds(found, plans)
    factor, rehearsed = np.ones(len(plans)), np.zeros(len(plans))
    transfer = found.communication_s.copy()
    for rows, plan in _kinds(plans):
        known, near = _nearest(stack.rehearsed, plan)
        if not near:
            continue
        lengths = pass_s[rows]
        rehearsed[rows] = known
        factor[rows] = np.max([one.between(lengths, one.step_factor) for one in near], axis=0)
        if axes_of(near[0].plan) == axes_of(plan) and near[0].plan.sharding == plan.sharding:
            mine = Plans(**{name: values[rows] for name, values in vars(plans).items()})
            transfer[rows] = _transfer(near[0], model, mine, lengths, stack.software)
    longer = transfer / np.where(found.communication_s > 0.0, found.communication_s, 1.0)
    return replace(
        found, step_s=found.step_s * factor, samples_s=found.samples_s / factor,
        flops_s=found.flops_s / factor, communication_s=transfer,
        exposed_s=found.exposed_s * longer, rehearsed=rehearsed,
    )


def _transfer(
    way: Rehearsed, model: Model, plans: Plans, pass_s: Array, software: Software
) -> Array:
    """T_comm's transfer of plans of a rehearsed way: as much longer as all calls together are."""
    longer = np.array([
        one.transfer_s / own * calls_seconds(model, plans, one, software)
        if one and own else np.zeros(len(plans))
        for one, own in zip(way.calls, way.calls_s, strict=True)])
    weights = np.array([way.between(pass_s, one) for one in np.eye(len(longer))])
    return cast(Array, (weights * longer).sum(axis=0))


def _kinds(plans: Plans) -> Iterator[tuple[NDArray[np.intp], Plan]]:
    """Numbers of the plans that are alike in what is rehearsed, with one of them."""
    names, schedules = np.unique(plans.schedule, return_inverse=True)
    columns = np.stack([getattr(plans, name) for name in KIND] + [schedules.reshape(-1)])
    kinds, which = np.unique(columns, axis=1, return_inverse=True)
    for number, kind in enumerate(kinds.T):
        fields = dict(zip(KIND, kind[:-1].tolist(), strict=True))
        rows = np.flatnonzero(which.reshape(-1) == number)
        yield rows, Plan(**fields, schedule=str(names[int(kind[-1])]))


def _nearest(ways: Sequence[Rehearsed], plan: Plan) -> tuple[float, list[Rehearsed]]:
    """How well a kind of plan was rehearsed, and by what: itself, or each of its axes alone."""
    axes = axes_of(plan)
    same = [one for one in ways if axes_of(one.plan) == axes and plan.context == 1]
    if same:
        best = min(same, key=lambda one: one.distance(plan))
        return EXACT if best.distance(plan) == (False, False, 0.0) else BORROWED, [best]
    parts = []
    for place, used in enumerate(axes):
        alone = tuple(number == place for number in range(len(axes)))
        own = [one for one in ways if used and axes_of(one.plan) == alone]
        if used and not own:
            return NOT, []
        parts += [min(own, key=lambda one: one.distance(plan))] if own else []
    return BORROWED if parts else NOT, parts
