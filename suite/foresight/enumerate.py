"""Every way to split a model over a number of devices, as plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice

from suite.foresight.fitting import Base, from_datasheet
from suite.foresight.hardware import find_device
from suite.foresight.machine import Software, Stack
from suite.foresight.plans import FULL, NO_RECOMPUTE, Plan, Plans, plans_of
from suite.foresight.transformer import Transformer, transformer
from suite.foresight.units import Model

SCHEDULES = ("gpipe", "1f1b", "interleaved")
MOST_MICRO_BATCHES = 512


def divisors(number: int) -> list[int]:
    """The divisors of a number, the smallest first."""
    return [n for n in range(1, number + 1) if number % n == 0]


def meshes(devices: int) -> Iterator[tuple[int, int, int]]:
    """(shards, stages, replicas) of every mesh of that many devices."""
    for shards in divisors(devices):
        for stages in divisors(devices // shards):
            yield shards, stages, devices // shards // stages


def ways(
    devices: int, batch: int, most_stages: int, shards_divide: Iterable[int] = (),
    recomputes: Sequence[float] = (NO_RECOMPUTE, FULL), shardings: Sequence[float] = (0, 1, 3),
) -> list[Plan]:
    """Every plan that the batch, the units and the heads allow.

    Args:
        devices: Devices to use, all of them.
        batch: Samples a step over all devices.
        most_stages: Units of the model, which no pipeline can exceed.
        shards_divide: Counts that shards have to divide, such as heads.
        recomputes: Levels of recomputation to try.
        shardings: ZeRO stages to try, where there are replicas and no pipeline beside stage 1.

    Returns:
        The plans.
    """
    found: list[Plan] = []
    for shards, stages, replicas in meshes(devices):
        fits = stages <= most_stages and batch % replicas == 0
        if not fits or any(count % shards for count in shards_divide):
            continue
        for parts in divisors(batch // replicas):
            if parts > MOST_MICRO_BATCHES:
                continue
            plan = Plan(shards, stages, replicas, 1, batch / replicas / parts, parts)
            found += _variants(plan, most_stages, recomputes, shardings)
    return found


def _variants(
    plan: Plan, most_stages: int, recomputes: Sequence[float], shardings: Sequence[float]
) -> Iterator[Plan]:
    schedules = SCHEDULES if plan.stages > 1 else ("1f1b",)
    for schedule in schedules:
        interleaved = schedule == "interleaved"
        if interleaved and (plan.stages * 2 > most_stages or plan.micro_batches % plan.stages):
            continue
        for recompute in recomputes:
            for sharding in shardings if plan.replicas > 1 else (0,):
                if sharding == 3 and plan.stages > 1:
                    continue
                yield replace(plan, schedule=schedule, chunks=2 if interleaved else 1,
                              recompute=recompute, sharding=sharding)


def example_plans(count: int) -> tuple[Model, Plans, Stack]:
    """That many different configurations of a model of seven billion parameters."""
    model = transformer(Transformer(
        layers=32, hidden=4096, heads=32, sequence=4096, vocabulary=32000, feed_forward=11008,
        key_value_heads=32, gated=1, fused_attention=1, tied=0,
    ))
    base = Base(find_device("A100 SXM 80GB"), "bf16", 8, Software())
    plans = [plan for devices in (8, 16, 32, 64, 128, 256)
             for plan in ways(devices, 1536, 32, (32,))]
    return model, plans_of(islice(cycle(plans), count)), from_datasheet(base).stack
