"""Plans as data: contiguous batch shards, column and row splits, stage cuts, micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from suite.spec.errors import UsageError
from suite.spec.workloads.contract import Branch, Workload

Work = tuple[int, str, int]
# Axis of the channels in what acts on each channel alone.
CHANNEL_AXES = {"scale": 0, "bias": 0, "depthwise": 2, "table": 1}
STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("", "fsdp"),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
}
# Stages that a device of an interleaved pipeline takes in turns.
VIRTUAL_STAGES = 2


def batch_slice(global_batch: int, devices: int, rank: int) -> slice:
    """The contiguous samples of ``rank``."""
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


def stage_units(workload: Workload, stages: int) -> list[list[str]]:
    """Contiguous groups of units, one a stage, whose largest count of FLOPs is the smallest."""
    costs = workload.unit_flops()
    groups = balanced_cuts(list(costs.values()), stages)
    names = iter(costs)
    return [[next(names) for _ in range(count)] for count in groups]


def unit_ranges(workload: Workload, stages: int) -> list[range]:
    """The numbers of each stage's units."""
    ends = [0, *accumulate(len(group) for group in stage_units(workload, stages))]
    return [range(*pair) for pair in pairwise(ends)]


def balanced_cuts(costs: Sequence[float], stages: int) -> list[int]:
    """Lengths of ``stages`` contiguous groups that make the largest sum the smallest.

    Dynamic programming over the first cut, from the back (linear partitioning: Skiena, The
    Algorithm Design Manual, 10.7). Of equal plans the one with longer first groups is taken; groups
    beyond the units stay empty.
    """
    before = [0.0, *accumulate(costs)]
    units = len(costs)
    filled = min(stages, units)
    best: dict[tuple[int, int], tuple[float, list[int]]] = {
        (start, 1): (before[units] - before[start], [units - start]) for start in range(units)
    }
    for count in range(2, filled + 1):
        for start in range(units - count + 1):
            best[start, count] = min(
                (
                    (max(before[cut] - before[start], rest), [cut - start, *lengths])
                    for cut in range(units - count + 1, start, -1)
                    for rest, lengths in [best[cut, count - 1]]
                ),
                key=lambda plan: plan[0],
            )
    return best[0, filled][1] + [0] * (stages - filled)


def stages_of_weights(workload: Workload, stages: int) -> dict[str, tuple[int, ...]]:
    """Parameter name -> the stages that hold it; what belongs to no unit rides with its end.

    What both ends hold they hold as equal copies; the first stage's is the one reported.
    """
    stage: dict[str, tuple[int, ...]] = {
        unit: (index,) for index, group in enumerate(stage_units(workload, stages))
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
    workload: Workload, strategy: str, variant: str, devices: int, accumulate: int = 1
) -> int:
    """Equal contiguous parts of a global batch that pass through the model on their own.

    1 where samples do not see each other: then parts change nothing.
    """
    if not workload.batch_statistics:
        return 1
    if strategy == "inter_layer":
        return micro_batches(variant, devices, accumulate)
    return accumulate * (devices if strategy == "data" else 1)


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


def check_divides(
    workload: Workload, strategy: str, variant: str, devices: int, accumulate: int = 1
) -> None:
    """Raises :class:`UsageError` where the split does not come out even."""
    label = f"{workload.name} {workload.size}, {strategy}"
    if strategy == "data" and workload.global_batch % devices:
        _refuse(label, devices, f"a divisor of the global batch {workload.global_batch}", OR_BATCH)
    _check_accumulates(workload, f"{label} {variant}".rstrip(), strategy, devices, accumulate)
    if strategy == "intra_layer":
        for name, axis in shard_axes(workload).items():
            if workload.shapes()[name][axis] % devices:
                _refuse(label, devices, f"a divisor of {name}'s {workload.shapes()[name][axis]}")
        for what, count in workload.divisors().items():
            if count % devices:
                _refuse(label, devices, f"a divisor of the {count} {what}")
    if strategy == "inter_layer":
        _check_stages(workload, f"{label} {variant}", variant, devices)
        if workload.global_batch % micro_batches(variant, devices):
            parts = micro_batches(variant, devices)
            expected = f"{parts} micro-batches to divide the global batch {workload.global_batch}"
            _refuse(label, devices, expected, OR_BATCH)


def _check_stages(workload: Workload, label: str, variant: str, devices: int) -> None:
    units, stages = len(workload.units()), stage_count(variant, devices)
    if variant != "interleaved" and units < stages:
        _refuse(label, devices, f"at most {units}, one a stage")
    if variant == "interleaved" and devices < 2:
        _refuse(label, devices, "2 or more: one device has nobody to take turns with")
    if variant == "interleaved" and units < stages:
        raise UsageError(
            f"units of {label}", units, f"at least {stages}, {VIRTUAL_STAGES} stages on each of "
            f"{devices} devices", "choose a larger --size, fewer --devices or --variant 1f1b",
        )


def _check_accumulates(
    workload: Workload, label: str, strategy: str, devices: int, accumulate: int
) -> None:
    """A share has to come apart into equal micro-batches: their mean is then the share's."""
    what = f"accumulate for {label}"
    if label.endswith("naive") and accumulate > 1:
        expected = "1: naive has one micro-batch a step"
        raise UsageError(what, accumulate, expected, "take --variant gpipe")
    parts = {"data": devices, "inter_layer": 2 * devices}.get(strategy, 1)
    if accumulate > 1 and workload.global_batch % (parts * accumulate):
        share = "micro-batch" if strategy == "inter_layer" else "device"
        expected = f"a divisor of the {workload.global_batch // parts} samples of a {share}"
        raise UsageError(what, accumulate, expected, "choose another --accumulate or --batch")


OR_BATCH = "choose another --devices or --batch"


def _refuse(
    label: str, devices: int, expected: str, fix: str = "choose another --devices"
) -> None:
    raise UsageError(f"devices for {label}", devices, expected, fix)
