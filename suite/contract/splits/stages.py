"""Inter-layer splits as data: which units of a model form the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from suite.contract.splits.strategies import VIRTUAL_STAGES
from suite.contract.workloads.workload import Workload


def stage_units(
    workload: Workload, stages: int, speeds: Sequence[float] = ()
) -> list[list[str]]:
    """Contiguous groups of units, one a stage, whose largest FLOPs over speed are the smallest."""
    costs = workload.unit_flops()
    groups = balanced_cuts(list(costs.values()), stages, speeds)
    names = iter(costs)
    return [[next(names) for _ in range(count)] for count in groups]


def unit_ranges(workload: Workload, stages: int, speeds: Sequence[float] = ()) -> list[range]:
    """The numbers of each stage's units."""
    ends = [0, *accumulate(len(group) for group in stage_units(workload, stages, speeds))]
    return [range(*pair) for pair in pairwise(ends)]


def balanced_cuts(
    costs: Sequence[float], stages: int, speeds: Sequence[float] = ()
) -> list[int]:
    """Lengths of ``stages`` contiguous groups that make the largest sum over speed the smallest.

    Dynamic programming over the first cut, from the back (linear partitioning: Skiena, The
    Algorithm Design Manual, 10.7). Of equal plans the one with longer first groups is taken; groups
    beyond the units stay empty.
    """
    before = [0.0, *accumulate(costs)]
    units = len(costs)
    filled = min(stages, units)
    pace = list(speeds or [1.0] * stages)[:filled]
    best: dict[tuple[int, int], tuple[float, list[int]]] = {
        (start, 1): ((before[units] - before[start]) / pace[-1], [units - start])
        for start in range(units)
    }
    for count in range(2, filled + 1):
        for start in range(units - count + 1):
            best[start, count] = min(
                (
                    (max((before[cut] - before[start]) / pace[-count], rest),
                     [cut - start, *lengths])
                    for cut in range(units - count + 1, start, -1)
                    for rest, lengths in [best[cut, count - 1]]
                ),
                key=lambda plan: plan[0],
            )
    return best[0, filled][1] + [0] * (stages - filled)


def stages_of_weights(
    workload: Workload, stages: int, speeds: Sequence[float] = ()
) -> dict[str, tuple[int, ...]]:
    """Parameter name -> the stages that hold it; what belongs to no unit rides with its end.

    What both ends hold they hold as equal copies; the first stage's is the one reported.
    """
    stage: dict[str, tuple[int, ...]] = {
        unit: (index,) for index, group in enumerate(stage_units(workload, stages, speeds))
        for unit in group
    }
    number = {"first": 0, "last": stages - 1}
    for part, ends in workload.ends().items():
        stage[part] = tuple(dict.fromkeys(number[end] for end in ends))
    return {
        name: stage[name] if name in stage else stage[name.split(".")[0]]
        for name in workload.shapes()
    }


def tied_weights(workload: Workload, stages: int) -> list[str]:
    """Parameters on both end stages: once a step their two gradients are summed there.

    Megatron-LM's embedding group (Narayanan et al. 2021). Empty on one stage.
    """
    return [name for name, held in stages_of_weights(workload, stages).items() if len(held) > 1]


def stage_count(variant: str, devices: int) -> int:
    """Stages of a pipeline: one a device, several of an interleaved one."""
    return devices * (VIRTUAL_STAGES if variant == "interleaved" else 1)


def stages_of(variant: str, devices: int, device: int) -> range:
    """The stages of a device: every ``devices``-th, so that it is passed once a round."""
    return range(device, stage_count(variant, devices), devices)
