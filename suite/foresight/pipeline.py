"""The pipeline simulated: when each pass of each stage starts and ends, for uneven stages too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, cast

import numpy as np

from suite.contract.splits.schedule import Work, needed, pipeline_order
from suite.contract.splits.stages import stage_count
from suite.foresight.machine import Software
from suite.foresight.plans import Plans
from suite.foresight.units import Array

# Rounds of the pipeline's depth after which its steady state repeats.
ROUNDS = 1
# Up to this many configurations plain numbers are replayed faster than arrays.
FEW = 8


@dataclass(frozen=True)
class Pass:
    """A pass of a micro-batch: on which stage and device, and the number of the pass it needs."""

    stage: int
    device: int
    forward: bool
    needs: int


@lru_cache(maxsize=4096)
def merged_order(variant: str, devices: int, parts: int) -> tuple[Pass, ...]:
    """Every pass of a step, each after the passes that it waits for."""
    orders = [pipeline_order(variant, device, devices, parts) for device in range(devices)]
    last = stage_count(variant, devices) - 1
    place, done = [0] * devices, dict[Work, int]()
    merged: list[Pass] = []
    total = sum(len(order) for order in orders)
    while len(merged) < total:
        for device, order in enumerate(orders):
            while place[device] < len(order):
                work = order[place[device]]
                before = needed(work, last)
                if before is not None and before not in done:
                    break
                done[work] = len(merged)
                needs = -1 if before is None else done[before]
                merged.append(Pass(work[0], device, work[1] == "forward", needs))
                place[device] += 1
    return tuple(merged)


def simulate(variant: str, forward: Array, backward: Array, hop: Array, parts: int) -> Array:
    """Seconds from the first pass to the last, by replaying the schedule.

    A pass starts when its device is free and when the result of the neighbouring stage has
    arrived, ``hop`` seconds after it was finished. The schedules are those that the adapters run.

    Args:
        variant: ``gpipe``, ``1f1b``, ``interleaved`` or ``naive``.
        forward: Seconds of a forward pass, (configurations, stages).
        backward: Seconds of a backward pass, (configurations, stages).
        hop: Seconds of a hop between stages, (configurations,).
        parts: Micro-batches of a step.

    Returns:
        Seconds of each configuration, (configurations,).
    """
    devices = forward.shape[1] // stage_count(variant, 1)
    order = merged_order(variant, devices, parts)
    if len(hop) <= FEW:
        rows = zip(forward.tolist(), backward.tolist(), hop.tolist(), strict=True)
        return np.array([_replay(order, *row, devices, max) for row in rows])
    ended = _replay(order, list(forward.T), list(backward.T), hop, devices, np.maximum)
    return cast(Array, ended)


def _replay(
    order: tuple[Pass, ...], forward: list[Any], backward: list[Any], hop: Any, devices: int,
    later: Callable[[Any, Any], Any],
) -> Any:
    """The time at which the last device is free; numbers and arrays are treated alike."""
    free: list[Any] = [0.0 * hop] * devices
    ended: list[Any] = []
    for one in order:
        start = free[one.device]
        if one.needs >= 0:
            start = later(start, ended[one.needs] + hop)
        end = start + (forward if one.forward else backward)[one.stage]
        free[one.device] = end
        ended.append(end)
    return reduce(later, free)


def pipeline_seconds(
    variant: str, forward: Array, backward: Array, hop: Array, parts: int
) -> Array:
    """The simulated time, for many micro-batches continued at the pace of the steady state.

    Once a pipeline is full every further round of micro-batches takes equally long, so two
    simulations of a few rounds say how long any number takes.
    """
    stages = forward.shape[1]
    short = ROUNDS * stages
    if stages == 1:
        return parts * (forward[:, 0] + backward[:, 0])
    if parts <= short + 2 * stages:
        return simulate(variant, forward, backward, hop, parts)
    first = short + parts % stages
    few = simulate(variant, forward, backward, hop, first)
    more = simulate(variant, forward, backward, hop, first + stages)
    return cast(Array, few + (more - few) * ((parts - first) / stages))


def blocking_share(plans: Plans, parts: int, schedule: str, software: Software) -> Array:
    """The share of its hops for which a device waits between passes.

    An interleaved pipeline may send beside its passes once it is full. The first device makes
    2 (p - 1) + (v - 1) p passes of p devices with v chunks each before that, and as many at the end
    (``num_warmup_microbatches`` in Megatron-Core's ``pipeline_parallel/schedules.py``); of these
    "the PP communications in pipeline fill and flush are still exposed" (NeMo's documentation,
    communication overlap).
    """
    stages, chunks = plans.stages, np.maximum(plans.chunks, 1.0)
    filling = 2.0 * (stages - 1.0) + (chunks - 1.0) * stages
    share = np.minimum(filling / (parts * chunks), 1.0)
    steady = software.steady_hops * (schedule == "interleaved")
    return cast(Array, software.blocking_hops * (1.0 - steady * (1.0 - share)))


def chunked_seconds(
    forward: Array, backward: Array, hop: Array, parts: int, chunks: Array
) -> Array:
    """An interleaved pipeline whose devices hold ``chunks`` model parts each.

    Its bubble is that of 1F1B divided by the number of parts, for which every micro-batch makes
    as many rounds of hops; a hop that is not in the bubble is hidden (Narayanan et al. 2021,
    section 2.2).

    Args:
        forward: Seconds of a forward pass through all parts of a device, (configurations, devices).
        backward: The same of a backward pass.
        hop: Seconds of a hop, (configurations,).
        parts: Micro-batches of a step.
        chunks: Model parts of each device, (configurations,).

    Returns:
        Seconds of each configuration, (configurations,).
    """
    whole = pipeline_seconds("1f1b", forward, backward, 0.0 * hop, parts)
    busy = parts * (forward + backward).max(axis=1)
    hops = 2.0 * (forward.shape[1] - 1) * hop
    return cast(Array, busy + (whole - busy) / chunks + hops)
