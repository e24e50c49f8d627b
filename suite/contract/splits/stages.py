"""Inter-layer (pipeline) plans: which units of a model form each stage of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from suite.contract.splits.strategies import VIRTUAL_STAGES
from suite.contract.workloads.workload import Workload


def stage_units(
    workload: Workload, stages: int, speeds: Sequence[float] = (), cut: Sequence[int] = ()
) -> list[list[str]]:
    """Cuts a model into stages so that the slowest stage takes as little time as possible.

    Args:
        workload: The workload; its units are what a cut may fall between.
        stages: Number of stages.
        speeds: Relative speed of each stage's device; empty for equal speeds.
        cut: Number of units of each stage, where they are given; empty to balance FLOPs.

    Returns:
        The names of the units of each stage, in forward order.
    """
    costs = workload.unit_flops()
    groups = cut or balanced_cuts(list(costs.values()), stages, speeds)
    names = iter(costs)
    return [[next(names) for _ in range(count)] for count in groups]


def unit_ranges(
    workload: Workload, stages: int, speeds: Sequence[float] = (), cut: Sequence[int] = ()
) -> list[range]:
    """Returns the same cut as ``stage_units``, as ranges of unit numbers."""
    ends = [0, *accumulate(len(group) for group in stage_units(workload, stages, speeds, cut))]
    return [range(*pair) for pair in pairwise(ends)]


def balanced_cuts(
    costs: Sequence[float], stages: int, speeds: Sequence[float] = ()
) -> list[int]:
    """Cuts a row of costs into contiguous groups and minimises the largest cost over speed.

    This is linear partitioning by dynamic programming over the first cut, from the last group
    backwards (Skiena, The Algorithm Design Manual, section 10.7). Of equally good plans the plan
    with longer first groups is taken.

    Args:
        costs: Cost of each unit, such as FLOPs per sample, in order.
        stages: Number of groups.
        speeds: Relative speed at which each group is worked off; empty for equal speeds.

    Returns:
        The number of units in each group. If there are fewer units than groups, the last groups
        are empty.
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
    workload: Workload, stages: int, speeds: Sequence[float] = (), cut: Sequence[int] = ()
) -> dict[str, tuple[int, ...]]:
    """Says which stages hold each parameter.

    Parameters outside the units, such as embeddings, are held by the first stage, by the last, or
    by both. Both then hold equal copies, and the first stage reports its copy.

    Args:
        workload: The workload that is cut.
        stages: Number of stages.
        speeds: Relative speed of each stage's device; empty for equal speeds.
        cut: Number of units of each stage, where they are given.

    Returns:
        Canonical parameter name to the numbers of the stages that hold it.
    """
    stage: dict[str, tuple[int, ...]] = {
        unit: (index,) for index, group in enumerate(stage_units(workload, stages, speeds, cut))
        for unit in group
    }
    number = {"first": 0, "last": stages - 1}
    for part, ends in workload.ends().items():
        stage[part] = tuple(dict.fromkeys(number[end] for end in ends))
    return {
        name: stage[name] if name in stage else stage[name.split(".")[0]]
        for name in workload.shapes()
    }


def moved_weights(
    workload: Workload, before: Sequence[int], after: Sequence[int]
) -> dict[str, tuple[int, int]]:
    """Says which parameters change their stage from one cut to another.

    Parameters outside the units stay: the ends of a pipeline do not depend on its cuts.

    Args:
        workload: The workload that is cut.
        before: Number of units of each stage.
        after: Number of units of each stage of the other cut.

    Returns:
        Canonical parameter name to the stage that gives it away and the stage that takes it.
    """
    old, new = (stages_of_weights(workload, len(cut), cut=cut) for cut in (before, after))
    return {name: (old[name][0], new[name][0]) for name in old if old[name] != new[name]}


def tied_weights(workload: Workload, stages: int) -> list[str]:
    """Lists the parameters that the first and the last stage both hold.

    Once a step the two stages add up their gradients of these parameters, as Megatron-LM's
    embedding group does (Narayanan et al. 2021).

    Args:
        workload: The workload that is cut.
        stages: Number of stages.

    Returns:
        Canonical parameter names; none if there is only one stage.
    """
    holders = stages_of_weights(workload, stages)
    return [name for name, stages_of_name in holders.items() if len(stages_of_name) > 1]


def stage_count(variant: str, devices: int) -> int:
    """Returns the number of stages: one per device, or several if the pipeline is interleaved."""
    return devices * (VIRTUAL_STAGES if variant == "interleaved" else 1)


def stages_of(variant: str, devices: int, device: int) -> range:
    """Returns the stages of a device: every ``devices``-th stage, starting with its own number."""
    return range(device, stage_count(variant, devices), devices)
