"""Plans as data: contiguous batch shards, column and row splits, stage cuts, micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from suite.spec.mesh import mesh_of
from suite.spec.planner import proportional_shares
from suite.spec.workloads.contract import Branch, Workload

Work = tuple[str, int]
# Axis of the channels in what acts on each channel alone.
CHANNEL_AXES = {"scale": 0, "bias": 0, "depthwise": 2, "table": 1}
STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("", "fsdp"),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive"),
}
# On a mesh of devices with an axis for each part; asked for by name, in no default matrix.
COMBINED: dict[str, tuple[str, ...]] = {
    "data+intra_layer": ("",),
    "data+inter_layer": ("gpipe", "1f1b", "naive"),
    "intra_layer+inter_layer": ("gpipe", "1f1b", "naive"),
    "data+intra_layer+inter_layer": ("gpipe", "1f1b", "naive"),
}


def batch_slice(
    global_batch: int, devices: int, rank: int, speeds: Sequence[float] = ()
) -> slice:
    """The contiguous samples of ``rank``: in proportion to its speed where ``speeds`` are given."""
    if speeds:
        shares = proportional_shares(global_batch, speeds)
        return slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    share = global_batch // devices
    return slice(rank * share, (rank + 1) * share)


def shard_axes(workload: Workload) -> dict[str, int]:
    """Parameter name -> axis split over the devices; a name that is absent is replicated.

    Column split (last axis, bias axis 0) feeds a row split (the axis before it, bias replicated),
    so that a branch needs one all-reduce forward and one backward (Shoeybi et al. 2019).
    """
    shapes = workload.shapes()
    axes: dict[str, int] = {}
    for branch in workload.branches():
        for column in branch.columns:
            axes |= {f"{column}.weight": len(shapes[f"{column}.weight"]) - 1, f"{column}.bias": 0}
        for layer in branch.channels:
            axes |= {f"{layer}.{leaf}": axis for leaf, axis in CHANNEL_AXES.items()}
        rows = [branch.row]
        if branch.middle:
            column = branch.middle.column
            axes |= {f"{column}.weight": len(shapes[f"{column}.weight"]) - 1, f"{column}.bias": 0}
            rows.append(branch.middle.row)
        axes |= {f"{row}.weight": len(shapes[f"{row}.weight"]) - 2 for row in rows}
    return {name: axis for name, axis in axes.items() if name in shapes}


def branch_parameters(workload: Workload, branch: Branch) -> list[str]:
    """The parameters that the devices of a branch hold shards of."""
    middle = (branch.middle.row, branch.middle.column) if branch.middle else ()
    layers = (*branch.columns, *branch.channels, *middle, branch.row)
    return [name for name in shard_axes(workload) if name.rpartition(".")[0] in layers]


def stage_units(
    workload: Workload, stages: int, speeds: Sequence[float] = ()
) -> list[list[str]]:
    """Contiguous groups of units, one a stage, whose largest FLOPs over speed are the smallest."""
    costs = workload.unit_flops()
    groups = balanced_cuts(list(costs.values()), stages, speeds)
    names = iter(costs)
    return [[next(names) for _ in range(count)] for count in groups]


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


def statistics_groups(
    workload: Workload, strategy: str, variant: str, devices: int, mesh: str = ""
) -> int:
    """Equal contiguous parts of a global batch that pass through the model on their own.

    1 where samples do not see each other: then parts change nothing.
    """
    if not workload.batch_statistics:
        return 1
    sizes = mesh_of(strategy, devices, mesh)
    staged = "inter_layer" in sizes.names
    parts = micro_batches(variant, sizes.size("inter_layer")) if staged else 1
    return sizes.size("data") * parts


def pipeline_order(variant: str, stage: int, stages: int, parts: int) -> list[Work]:
    """What one stage does, in order: (``forward`` or ``backward``, micro-batch).

    GPipe (Huang et al. 2019) runs all forwards, then all backwards. 1F1B (Narayanan et al. 2019)
    alternates once the pipeline is full, which bounds the stored activations by the stages::

        gpipe  stage 0  F0 F1 F2 F3 .  B0 B1 B2 B3
               stage 1  .  F0 F1 F2 F3 B0 B1 B2 B3
        1f1b   stage 0  F0 F1 .  B0 F2 B1 F3 B2 .  B3
               stage 1  .  F0 B0 F1 B1 F2 B2 F3 B3
    """
    ahead = min(parts, stages - stage - 1) if variant == "1f1b" else parts
    order: list[Work] = [("forward", part) for part in range(ahead)]
    for part in range(parts - ahead):
        order += [("forward", ahead + part), ("backward", part)]
    return order + [("backward", part) for part in range(parts - ahead, parts)]


def pipeline_schedule(variant: str, stages: int, parts: int) -> list[tuple[int, str, int]]:
    """All stages' work as (stage, kind, micro-batch), each after what it depends on."""
    waiting = [pipeline_order(variant, stage, stages, parts) for stage in range(stages)]
    done: set[tuple[int, str, int]] = set()
    schedule: list[tuple[int, str, int]] = []
    while any(waiting):
        for stage, order in enumerate(waiting):
            if order and _ready(stage, *order[0], stages, done):
                schedule.append((stage, *order.pop(0)))
                done.add(schedule[-1])
    return schedule


def _ready(stage: int, kind: str, part: int, stages: int, done: set[tuple[int, str, int]]) -> bool:
    if kind == "forward":
        return stage == 0 or (stage - 1, kind, part) in done
    return stage == stages - 1 or (stage + 1, kind, part) in done


def micro_batches(variant: str, devices: int) -> int:
    """Micro-batches of a pipeline: one for ``naive``, twice the stages otherwise."""
    return 1 if variant == "naive" else 2 * devices
