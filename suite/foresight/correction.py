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

from suite.foresight.collectives import all_reduce_seconds
from suite.foresight.machine import Link, Stack
from suite.foresight.plans import Plan, Plans, plans_of
from suite.foresight.rehearsal import AXES, Beside, Rehearsal, Rehearsed, axes_of
from suite.foresight.step import Prediction, predict_by_constants
from suite.foresight.units import Array, Model

# How well a way was rehearsed: itself; another schedule, sharding, recomputation, number of devices
# or length of a pass, or each of its axes alone; not at all.
EXACT, BORROWED, NOT = 1.0, 0.5, 0.0
KIND = (*AXES, "context", "sharding", "recompute")
FIGURES = ("step_s", "communication_s", "exposed_s")


def rehearsed_ways(
    rehearsals: Sequence[Rehearsal], stack: Stack
) -> tuple[Rehearsed[Stack], ...]:
    """Lays rehearsals beside what a stack predicts of them, those of one way together."""
    ways: dict[tuple[object, ...], list[Rehearsal]] = {}
    for one in rehearsals:
        schedule = one.plan.schedule if one.plan.stages > 1 else ""
        key = (*(getattr(one.plan, name) for name in KIND), schedule)
        ways.setdefault(key, []).append(one)
    return tuple(
        Rehearsed(same[0].plan, tuple(sorted((_beside(one, stack) for one in same),
                                             key=lambda trial: trial.pass_s)))
        for same in ways.values())


def _beside(one: Rehearsal, stack: Stack) -> Beside[Stack]:
    """A rehearsal beside what a stack predicts of it, with its own links and those it found."""
    plans, inside = plans_of([one.plan]), _inside(stack, one)
    plain = predict_by_constants(one.model, plans, stack)
    found = predict_by_constants(one.model, plans, inside)
    sent, calls = float(found.communication_s[0]), one.calls
    # Where no call was told apart, communication stays as it is predicted.
    share = float(found.exposed_s[0]) / sent if sent else 0.0
    if calls and calls.transfer_s:
        share = min(1.0, calls.exposed_s / calls.transfer_s)
    return Beside(
        float(pass_seconds(plain, plans)[0]), inside,
        step_factor=one.step_s / float(found.step_s[0]),
        plain_factor=one.step_s / float(plain.step_s[0]),
        transfer_factor=calls.transfer_s / sent if calls and sent else 1.0,
        exposed_share=share,
        micro_batch=one.plan.micro_batch,
    )


def _inside(stack: Stack, one: Rehearsal) -> Stack:
    """The stack with links on which a call takes what it took inside the rehearsal's steps.

    A byte takes as long as on the calibrated link: sizes within one model vary too little beside
    what calls wait for to tell it again.
    """
    calls, machine = one.calls, replace(stack.machine, call_slowdown=1.0)
    if calls is None:
        return stack
    software = replace(stack.software, first_calls=calls.first_calls, call_bytes=calls.call_bytes)
    if one.plan.stages > 1:
        own = machine.hop or machine.inside
        waited = calls.call_s - calls.bytes / own.bytes_s
        return Stack(replace(machine, hop=replace(own, latency_s=np.maximum(waited, 0.0))),
                     software)
    size, own = max(one.plan.replicas, one.plan.shards), machine.inside
    bare = replace(own, latency_s=0.0)
    waited = calls.call_s - float(all_reduce_seconds(calls.bytes, size, bare))
    link = replace(own, latency_s=max(waited, 0.0) / (2.0 * (size - 1.0)))
    return Stack(replace(machine, inside=link, between=link), software)


def pass_seconds(found: Prediction, plans: Plans) -> Array:
    """Predicted seconds of both passes of a micro-batch on the mean device."""
    return found.compute_s / plans.micro_batches


def corrected(found: Prediction, model: Model, plans: Plans, stack: Stack) -> Prediction:
    """What the rehearsals of a stack make of a prediction; the same where there are none.

    A way that was rehearsed is predicted with the links that its rehearsals found, and then takes
    as much longer than predicted as they did. A split of which only the axes were rehearsed, each
    alone, takes the largest of their factors: what slows a part of it slows the whole.
    """
    if not stack.rehearsed:
        return found
    figures = {name: getattr(found, name).copy()
               for name in ("step_s", "communication_s", "exposed_s", "rehearsed")}
    lengths = pass_seconds(found, plans)
    themselves: list[list[NDArray[np.intp]]] = [[] for _ in stack.rehearsed]
    for rows, plan in _kinds(plans):
        known, near = _nearest(stack.rehearsed, plan)
        figures["rehearsed"][rows] = known
        if known == EXACT:
            covered = stack.rehearsed[near[0]].covers(plans.micro_batch[rows], lengths[rows])
            figures["rehearsed"][rows] = np.where(covered, EXACT, BORROWED)
        if len(near) == 1 and axes_of(stack.rehearsed[near[0]].plan) == axes_of(plan):
            themselves[near[0]].append(rows)
        elif near:
            figures["step_s"][rows] *= np.max(
                [_plain_factor(stack.rehearsed[one], lengths[rows]) for one in near], axis=0)
    for way, kinds in zip(stack.rehearsed, themselves, strict=True):
        if kinds:  # together, since a prediction of few takes as long as one of many
            rows = np.concatenate(kinds)
            mine = Plans(**{name: values[rows] for name, values in vars(plans).items()})
            for name, values in zip(FIGURES, _by_trials(way, model, mine, lengths[rows]),
                                    strict=True):
                figures[name][rows] = values
    faster = found.step_s / figures["step_s"]
    return replace(found, **figures, samples_s=found.samples_s * faster,
                   flops_s=found.flops_s * faster)


def with_bandwidth(stack: Stack, factor: float) -> Stack:
    """The stack with links of so many times the bandwidth, inside rehearsed steps as well.

    What a call waits for beside its bytes stays.
    """
    def faster(link: Link) -> Link:
        return replace(link, bytes_s=link.bytes_s * factor)

    machine = stack.machine
    ways = tuple(
        replace(way, trials=tuple(replace(one, inside=with_bandwidth(one.inside, factor))
                                  for one in way.trials))
        for way in stack.rehearsed)
    links = replace(machine, inside=faster(machine.inside), between=faster(machine.between),
                    hop=faster(machine.hop) if machine.hop else None)
    return replace(stack, machine=links, rehearsed=ways)


def _by_trials(way: Rehearsed[Stack], model: Model, plans: Plans, pass_s: Array) -> Array:
    """Step, T_comm and its exposed part of plans of a rehearsed way, in seconds: (3, plans)."""
    found = np.zeros((len(FIGURES), len(plans)))
    for trial, weight in zip(way.trials, way.weights(pass_s), strict=True):
        if weight.any():
            one = predict_by_constants(model, plans, trial.inside)
            transfer = trial.transfer_factor * one.communication_s
            found += weight * np.array([
                trial.step_factor * one.step_s, transfer, trial.exposed_share * transfer])
    return found


def _plain_factor(way: Rehearsed[Stack], pass_s: Array) -> Array:
    factors = np.array([trial.plain_factor for trial in way.trials])
    return cast(Array, factors @ way.weights(pass_s))


def _kinds(plans: Plans) -> Iterator[tuple[NDArray[np.intp], Plan]]:
    """Numbers of the plans that are alike in what is rehearsed, with one of them."""
    names, schedules = np.unique(plans.schedule, return_inverse=True)
    columns = np.stack([getattr(plans, name) for name in KIND] + [schedules.reshape(-1)])
    kinds, which = np.unique(columns, axis=1, return_inverse=True)
    for number, kind in enumerate(kinds.T):
        fields = dict(zip(KIND, kind[:-1].tolist(), strict=True))
        rows = np.flatnonzero(which.reshape(-1) == number)
        yield rows, Plan(**fields, schedule=str(names[int(kind[-1])]))


def _nearest(ways: Sequence[Rehearsed[Stack]], plan: Plan) -> tuple[float, list[int]]:
    """How well a kind of plan was rehearsed, and by which ways: itself, or each axis alone."""
    axes = axes_of(plan)
    numbers = range(len(ways))
    same = [one for one in numbers if axes_of(ways[one].plan) == axes and plan.context == 1]
    if same:
        best = min(same, key=lambda one: ways[one].distance(plan))
        return EXACT if ways[best].distance(plan) == (False, False, 0.0) else BORROWED, [best]
    parts = []
    for place, used in enumerate(axes):
        alone = tuple(number == place for number in range(len(axes)))
        own = [one for one in numbers if used and axes_of(ways[one].plan) == alone]
        if used and not own:
            return NOT, []
        parts += [min(own, key=lambda one: ways[one].distance(plan))] if own else []
    return BORROWED if parts else NOT, parts
