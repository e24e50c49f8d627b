"""Which units each stage of a pipeline holds."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from suite.contract.splits.stages import balanced_cuts
from suite.foresight.plans import Plans
from suite.foresight.units import Array, Model, Unit


def stage_counts(
    model: Model, plans: Plans, rows: NDArray[np.intp], stages: int, by_parameters: bool = False
) -> list[Array]:
    """How many of each unit every stage holds: arrays (rows, stages) or (1, stages), one a unit.

    A single kind of block is dealt out evenly, the first stages getting one more where it does not
    divide. Different units are cut as the suite cuts them, so that the largest sum of FLOPs is
    smallest; what rides with the last unit counts with it. All rows have the same cut, if any.
    ``by_parameters`` cuts equal blocks as ``threshold_counts`` says.
    """
    body = [unit for unit in model if unit.place == "body"]
    if len(body) > 1:
        given = str(plans.cut[rows[0]])
        sizes = tuple(map(int, given.split(","))) if given else _balanced(body, model, stages)
        counts = iter(_cut(body, sizes, stages))
    elif by_parameters:
        counts = iter([_threshold_rows(model, plans, rows, stages)])
    else:
        counts = iter(_dealt(body[0].repeats * np.ones(len(plans)), rows, stages))
    found = []
    for unit in model:
        if unit.place == "body":
            found.append(next(counts))
        else:
            one = np.zeros((1, stages))
            one[0, 0 if unit.place == "first" else -1] = 1.0
            found.append(one)
    return found


def _dealt(repeats: Array, rows: NDArray[np.intp], stages: int) -> list[Array]:
    mine = repeats[rows]
    base = np.floor(mine / stages)
    extra = mine - base * stages
    return [cast(Array, base[:, None] + (np.arange(stages)[None, :] < extra[:, None]))]


def threshold_counts(blocks: int, block_cost: float, head_cost: float, stages: int) -> list[int]:
    """Blocks of each stage as nanotron deals them (``build_model`` in its ``models/base.py``).

    The costs of blocks and head are added up in order, and the next stage begins behind the block
    whose sum exceeds the stage's share. So early stages are rounded up, and the last one, which has
    the head, has fewer blocks.
    """
    share = (blocks * block_cost + head_cost) / stages
    counts, stage = [0] * stages, 0
    for block in range(1, blocks + 1):
        counts[stage] += 1
        if stage < stages - 1 and block * block_cost > (stage + 1) * share:
            stage += 1
    return counts


def _threshold_rows(
    model: Model, plans: Plans, rows: NDArray[np.intp], stages: int
) -> Array:
    one = np.ones(len(plans))
    block = next(unit for unit in model if unit.place == "body")
    last = next(unit for unit in model if unit.place == "last")
    columns = (block.repeats * one, block.parameters_split * one,
               (last.parameters_split + last.copied_split) * one)
    return np.array([threshold_counts(round(float(n)), float(cost), float(head), stages)
                     for n, cost, head in zip(*(c[rows] for c in columns), strict=True)],
                    dtype=float)


def end_repeats(unit: Unit, model: Model, plans: Plans, place: str, by_parameters: bool) -> Array:
    """How many of a body's unit the first or last stage holds; the mean where units differ."""
    mean = unit.repeats / plans.stages
    if not by_parameters:
        return mean
    found = mean * np.ones(len(plans))
    for stages in np.unique(plans.stages[plans.stages > 1]):
        rows = np.flatnonzero(plans.stages == stages)
        counts = _threshold_rows(model, plans, rows, int(stages))
        found[rows] = counts[:, 0 if place == "first" else -1]
    return found


def _balanced(body: list[Unit], model: Model, stages: int) -> tuple[int, ...]:
    costs = [float(unit.repeats * unit.flops()) for unit in body]
    costs[-1] += sum(float(unit.flops()) for unit in model if unit.place == "last")
    return _cuts(tuple(costs), stages)


def _cut(body: list[Unit], sizes: tuple[int, ...], devices: int) -> list[Array]:
    # Where devices have several stages, they take them in turns.
    owner = [stage % devices for stage, size in enumerate(sizes) for _ in range(size)]
    return [np.eye(devices)[[stage]] * unit.repeats
            for stage, unit in zip(owner, body, strict=True)]


@lru_cache(maxsize=1024)
def _cuts(costs: tuple[float, ...], stages: int) -> tuple[int, ...]:
    return tuple(balanced_cuts(costs, stages))
