"""Plans as data: contiguous batch shards, column and row splits, stage cuts, micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from suite.spec.mesh import mesh_of
from suite.spec.planner import proportional_shares
from suite.spec.workloads.contract import Branch, Workload

Work = tuple[int, str, int]
# Axis of the channels in what acts on each channel alone.
CHANNEL_AXES = {"scale": 0, "bias": 0, "depthwise": 2, "table": 1}
STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
# A process for each device where the plain variant has one for all.
MULTI_WORKER = "multi_worker"
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("", "fsdp", "fp16", "bf16", MULTI_WORKER),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
}
# Formats that gradients travel in; they are computed and applied in float32.
COMPRESSIONS = ("fp16", "bf16")
# On a mesh of devices with an axis for each part; asked for by name, in no default matrix.
COMBINED: dict[str, tuple[str, ...]] = {
    "data+intra_layer": ("",),
    "data+inter_layer": VARIANTS["inter_layer"],
    "intra_layer+inter_layer": VARIANTS["inter_layer"],
    "data+intra_layer+inter_layer": VARIANTS["inter_layer"],
}
# Stages that a device of an interleaved pipeline takes in turns.
VIRTUAL_STAGES = 2


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


def statistics_groups(
    workload: Workload, strategy: str, variant: str, devices: int, mesh: str = "",
    accumulate: int = 1,
) -> int:
    """Equal contiguous parts of a global batch that pass through the model on their own.

    1 where samples do not see each other: then parts change nothing.
    """
    if not workload.batch_statistics:
        return 1
    sizes = mesh_of(strategy, devices, mesh)
    staged = "inter_layer" in sizes.names
    stages = sizes.size("inter_layer")
    parts = micro_batches(variant, stages, accumulate) if staged else accumulate
    return sizes.size("data") * parts


def stage_count(variant: str, devices: int) -> int:
    """Stages of a pipeline: one a device, several of an interleaved one."""
    return devices * (VIRTUAL_STAGES if variant == "interleaved" else 1)


def stages_of(variant: str, devices: int, device: int) -> range:
    """The stages of a device: every ``devices``-th, so that it is passed once a round."""
    return range(device, stage_count(variant, devices), devices)


def ideal_bubble(variant: str, devices: int, parts: int) -> float:
    """Idle share of a device with equal stages: (p-1)/(v*m+p-1) of v stages a device.

    v is 1 but for an interleaved pipeline (Huang et al. 2019; Narayanan et al. 2021, 2.2).
    """
    work = parts * stage_count(variant, devices) // devices
    return (devices - 1) / (work + devices - 1)


def pipeline_order(variant: str, device: int, devices: int, parts: int) -> list[Work]:
    """What one device does, in order: (stage, ``forward`` or ``backward``, micro-batch).

    GPipe (Huang et al. 2019) runs all forwards, then all backwards. 1F1B (Narayanan et al. 2019)
    alternates once the pipeline is full, which bounds the stored activations by the stages::

        gpipe  device 0  F0 F1 F2 F3 .  B0 B1 B2 B3
               device 1  .  F0 F1 F2 F3 B0 B1 B2 B3
        1f1b   device 0  F0 F1 .  B0 F2 B1 F3 B2 .  B3
               device 1  .  F0 B0 F1 B1 F2 B2 F3 B3

    Interleaved 1F1B (Narayanan et al. 2021) gives a device a second, later stage (f, b), half as
    long; as many micro-batches as devices pass the one before they pass the other, and the bubble
    is half as long::

        device 0  F0 F1 f0 f1 F2 b0 F3 b1 f2 B0 f3 B1 .  b2 .  b3 B2 B3
        device 1  .  F0 F1 f0 b0 f1 b1 F2 B0 F3 B1 f2 b2 f3 b3 B2 B3 .
    """
    if variant == "interleaved":
        return _interleaved(device, devices, parts)
    ahead = min(parts, devices - device - 1) if variant == "1f1b" else parts
    return _one_by_one(
        [(device, "forward", part) for part in range(parts)],
        [(device, "backward", part) for part in range(parts)], ahead,
    )


def _one_by_one(forwards: list[Work], backwards: list[Work], ahead: int) -> list[Work]:
    """``ahead`` forwards, then a forward and a backward in turns, then the other backwards."""
    turns = zip(forwards[ahead:], backwards, strict=False)
    middle = [work for pair in turns for work in pair]
    return [*forwards[:ahead], *middle, *backwards[len(forwards) - ahead:]]


def _interleaved(device: int, devices: int, parts: int) -> list[Work]:
    """Micro-batches in rounds of as many as devices; each round passes all stages of the device.

    Ahead of its first backward a device has a round on every stage but its last, and two forwards
    for every device behind it: the way there and back.
    """
    stages = stages_of("interleaved", devices, device)
    rounds = [range(first, first + devices) for first in range(0, parts, devices)]
    forwards = [(s, "forward", part) for some in rounds for s in stages for part in some]
    backwards = [(s, "backward", part) for some in rounds for s in stages[::-1] for part in some]
    ahead = (len(stages) - 1) * devices + 2 * (devices - device - 1)
    return _one_by_one(forwards, backwards, min(ahead, len(forwards)))


def pipeline_schedule(variant: str, devices: int, parts: int) -> list[Work]:
    """All devices' work, each after what it depends on."""
    waiting = [pipeline_order(variant, device, devices, parts) for device in range(devices)]
    last = stage_count(variant, devices) - 1
    done: set[Work] = set()
    schedule: list[Work] = []
    while any(waiting):
        for order in waiting:
            if order and needed(order[0], last) in {None, *done}:
                schedule.append(order.pop(0))
                done.add(schedule[-1])
    return schedule


def needed(work: Work, last: int) -> Work | None:
    """The work on another stage that this one waits for; ``last`` is the last stage."""
    stage, kind, part = work
    if kind == "forward":
        return (stage - 1, kind, part) if stage else None
    return (stage + 1, kind, part) if stage < last else None


def micro_batches(variant: str, devices: int, accumulate: int = 1) -> int:
    """Micro-batches of a pipeline: one for ``naive``, twice the devices otherwise.

    A pipeline accumulates over its micro-batches already, so ``accumulate`` multiplies them.
    """
    return 1 if variant == "naive" else 2 * devices * accumulate
