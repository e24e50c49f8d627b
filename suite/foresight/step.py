"""Puts the terms together: seconds and bytes of a step by the constants of a stack alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from suite.foresight.collectives import all_reduce_seconds, group_link, hop_seconds
from suite.foresight.compute import host_and_device, unit_times
from suite.foresight.machine import Link, Stack
from suite.foresight.memory import held_parameters, peak_bytes
from suite.foresight.pipeline import blocking_share, chunked_seconds, pipeline_seconds
from suite.foresight.plans import FULL, Plans
from suite.foresight.sharded import (
    beside,
    copy_seconds,
    exposed_gradient_seconds,
    gather_seconds,
    gradient_seconds,
)
from suite.foresight.stages import stage_counts
from suite.foresight.units import Array, Model, Unit, training_flops


@dataclass(frozen=True)
class Prediction:
    """What a step takes; arrays (configurations,), seconds and bytes of one device.

    Attributes:
        step_s: Seconds of a step.
        compute_s: Busy seconds of the mean device.
        communication_s: Seconds with a communication in flight, T_comm, of the slowest stage.
        exposed_s: Those of them that nothing hides.
        load_balance: L, the busiest stage over the mean stage.
        bubble: Idle share of a pipeline's device.
        update_s: Seconds of the optimiser's step.
        peak_bytes: Memory of the fullest device.
        samples_s: Samples a second over all devices.
        flops_s: Model FLOPs a second and device.
        rehearsed: 1 where a rehearsal of this very kind of split corrected the figures, 0.5 where
            one of another schedule, batch or of parts of the split did, 0 where none did.
    """

    step_s: Array
    compute_s: Array
    communication_s: Array
    exposed_s: Array
    load_balance: Array
    bubble: Array
    update_s: Array
    peak_bytes: Array
    samples_s: Array
    flops_s: Array
    rehearsed: Array


@dataclass(frozen=True)
class Passes:
    """Seconds of one micro-batch in one unit; arrays (configurations,)."""

    forward_s: Array
    backward_s: Array
    compute_s: Array
    communication_s: Array
    exposed_s: Array


def unit_passes(unit: Unit, plans: Plans, stack: Stack) -> Passes:
    """Both passes of a unit with the communication that belongs to them.

    The device works off what the host starts, so a pass takes the longer of the device's time,
    in which sums over shards are exposed unless the software hides them, and of the host's.
    """
    machine, software = stack.machine, stack.software
    times = unit_times(unit, plans, stack)
    inner = group_link(machine, plans.shards, np.ones(len(plans)), plans.devices)
    payload = plans.micro_batch / plans.context * unit.leaving * software.activation_bytes
    one = unit.sums * all_reduce_seconds(payload, plans.shards, inner)
    repeated = (plans.recompute == FULL) & (unit.place == "body")
    sums = (one, np.where(repeated, 2.0 * one, one))
    outer = group_link(machine, plans.replicas, plans.shards * plans.context, plans.devices)
    held = unit.parameters + unit.parameters_split / plans.shards
    gathers = gather_seconds(held, plans, outer, software)
    copies = copy_seconds(held, plans, machine.stream_bytes_s, software)
    seconds, hidden = [], 1.0 - software.overlaps_hidden_sums
    exposed = np.zeros(len(plans))
    forward_s, backward_s = times.forward_s + copies[0], times.backward_s + copies[1]
    pairs = ((forward_s, times.forward_launch_s, sums[0], gathers[0]),
             (backward_s, times.backward_launch_s, sums[1], gathers[1]))
    for device, host, summed, gathered in pairs:
        busy = device + hidden * summed
        alone = busy + host if machine.synchronous else host_and_device(busy, host)
        both, outlasting = beside(alone, gathered, machine.contention)
        seconds.append(both)
        exposed = exposed + outlasting + hidden * summed
    return Passes(
        seconds[0], seconds[1], forward_s + backward_s,
        sums[0] + sums[1] + gathers[0] + gathers[1], exposed,
    )


@dataclass(frozen=True)
class StageTimes:
    """Seconds a micro-batch of each stage, (configurations, stages)."""

    forward_s: Array
    backward_s: Array
    compute_s: Array
    communication_s: Array
    exposed_s: Array


def all_passes(model: Model, plans: Plans, stack: Stack) -> list[Passes]:
    """Passes of each unit for all configurations; equal units are computed once."""
    known: dict[int, Passes] = {}
    found = []
    for unit in model:
        key = id(unit.products) if unit.products else id(unit)
        if key not in known:
            known[key] = unit_passes(unit, plans, stack)
        found.append(known[key])
    return found


def stage_times(
    passes: list[Passes], split: list[Array], rows: NDArray[np.intp], stages: int
) -> StageTimes:
    """Stages of those configurations, which all have the same number of them.

    Args:
        passes: Of each unit.
        split: How many of each unit every stage holds, from ``stage_counts``.
        rows: The configurations.
        stages: Their number of stages.
    """
    columns = {name: np.zeros((len(rows), stages)) for name in StageTimes.__dataclass_fields__}
    for one, counts in zip(passes, split, strict=True):
        for name, sums in columns.items():
            sums += getattr(one, name)[rows, None] * counts
    return StageTimes(**columns)


def _groups(plans: Plans) -> Iterator[tuple[NDArray[np.intp], int, int, str]]:
    """Configurations that share stages, micro-batches, schedule and cut: one simulation for all."""
    keys = np.stack([plans.stages, plans.micro_batches], axis=1)
    _, which = np.unique(keys, axis=0, return_inverse=True)
    both = which.reshape(-1)
    for words in (plans.schedule, plans.cut):
        names, kinds = np.unique(words, return_inverse=True)
        both = both * len(names) + kinds.reshape(-1)
    for code in np.unique(both):
        rows = np.flatnonzero(both == code)
        first = rows[0]
        yield (rows, int(plans.stages[first]), int(plans.micro_batches[first]),
               str(plans.schedule[first]))


def _select(plans: Plans, rows: NDArray[np.intp]) -> Plans:
    return Plans(**{name: values[rows] for name, values in plans.__dict__.items()})


def _one_group(
    plans: Plans, times: StageTimes, hop: Array, parts: int, schedule: str, blocking: Array
) -> dict[str, Array]:
    """Seconds of a step before gradients are reduced, of configurations simulated together."""
    stages = times.forward_s.shape[1]
    chunks = np.where(schedule == "interleaved", np.maximum(plans.chunks, 1.0), 1.0)
    waits = (blocking * chunks * hop)[:, None]
    passes = times.forward_s + waits, times.backward_s + waits
    if schedule == "interleaved" and stages > 1:
        piped = chunked_seconds(*passes, (1.0 - blocking) * hop, parts, chunks)
    else:
        piped = pipeline_seconds(schedule, *passes, (1.0 - blocking) * hop, parts)
    busy = parts * (times.forward_s + times.backward_s)
    hops = 2.0 * parts * chunks * hop * min(stages - 1, 1)
    return {
        "piped": piped, "busiest": busy.max(axis=1),
        "mean_busy": busy.mean(axis=1),
        "compute": parts * times.compute_s.mean(axis=1),
        "balance": times.compute_s.max(axis=1) / times.compute_s.mean(axis=1),
        "communication": parts * times.communication_s.max(axis=1) + hops,
        "exposed": parts * times.exposed_s.max(axis=1) + hops,
        "backward": times.backward_s.max(axis=1),
    }


def hop_times(model: Model, plans: Plans, stack: Stack) -> Array:
    """Seconds in which a micro-batch's activations pass from one stage to the next."""
    stride = plans.shards * plans.context * plans.replicas
    link = stack.machine.hop or group_link(
        stack.machine, plans.stages, stride, plans.devices)
    body = next(unit for unit in model if unit.place == "body")
    samples = plans.micro_batch / plans.context
    payload = samples * body.leaving * stack.software.activation_bytes / plans.shards
    return cast(Array, np.where(plans.stages > 1, hop_seconds(payload, link), 0.0))


def update_seconds(held: Array, plans: Plans, stack: Stack) -> Array:
    """The optimiser's step: memory-bound over the states that a device updates.

    Sharded states are updated once over all replicas (Rajbhandari et al. 2020, section 5.1).
    """
    ways = np.where(plans.sharding >= 1, plans.replicas * plans.context, 1.0)
    moved = held / ways * stack.software.update_bytes
    return moved / stack.machine.stream_bytes_s


def predict_by_constants(model: Model, plans: Plans, stack: Stack) -> Prediction:
    """Predicts a step of every configuration from the constants of a machine and its software.

    Args:
        model: Units in forward order; numbers, or arrays with an entry a configuration.
        plans: The configurations.
        stack: Machine and software.

    Returns:
        Seconds, rates and bytes of each configuration.
    """
    passes, hops = all_passes(model, plans, stack), hop_times(model, plans, stack)
    by_parameters = stack.software.cuts_by_parameters
    found: dict[str, Array] = {}
    for rows, stages, parts, schedule in _groups(plans):
        split = stage_counts(model, plans, rows, stages, by_parameters)
        times = stage_times(passes, split, rows, stages)
        one = _one_group(_select(plans, rows), times, hops[rows], parts, schedule,
                         blocking_share(_select(plans, rows), parts, schedule, stack.software))
        for name, values in one.items():
            found.setdefault(name, np.zeros(len(plans)))[rows] = values
    outer = _outer_link(plans, stack)
    held = np.maximum(held_parameters(model, plans, "first", by_parameters),
                      held_parameters(model, plans, "last", by_parameters))
    reduced = gradient_seconds(held, plans, outer, stack.software)
    exposed = exposed_gradient_seconds(
        reduced, found["backward"], stack.software.overlaps_gradients,
        stack.machine.call_slowdown)
    in_flight = exposed + (reduced - exposed) * stack.machine.call_slowdown
    update = update_seconds(held, plans, stack)
    slowed = (in_flight - exposed) * (stack.machine.contention - 1.0)
    step = found["piped"] + exposed + slowed + update + stack.machine.step_s
    samples_s = plans.global_batch / step
    return Prediction(
        step, found["compute"], found["communication"] + in_flight, found["exposed"] + exposed,
        load_balance=found["balance"], bubble=1.0 - found["mean_busy"] / found["piped"],
        update_s=update, peak_bytes=peak_bytes(model, plans, stack), samples_s=samples_s,
        flops_s=training_flops(model) * samples_s / plans.devices,
        rehearsed=np.zeros(len(plans)),
    )


def _outer_link(plans: Plans, stack: Stack) -> Link:
    size = plans.replicas * plans.context
    return group_link(stack.machine, size, plans.shards, plans.devices)
