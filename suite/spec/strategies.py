"""Plans as data: contiguous batch shards, column and row splits, stage cuts, micro-batches."""

from __future__ import annotations

from suite.spec.errors import UsageError
from suite.spec.workloads import GptSpec, MlpSpec, Workload

Work = tuple[str, int]
STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("",),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive"),
}


def batch_slice(global_batch: int, devices: int, rank: int) -> slice:
    """The contiguous samples of ``rank``."""
    share = global_batch // devices
    return slice(rank * share, (rank + 1) * share)


def shard_axes(workload: Workload) -> dict[str, int]:
    """Parameter name -> axis split over the devices; a name that is absent is replicated.

    Column split (axis 1, bias axis 0) feeds a row split (axis 0, bias replicated), so that a pair
    of layers needs one all-reduce forward and one backward (Shoeybi et al. 2019, Megatron-LM).
    """
    axes: dict[str, int] = {}
    pairs: list[tuple[list[str], str]] = []
    if isinstance(workload, MlpSpec):
        pairs = [([f"layer{i}"], f"layer{i + 1}") for i in range(0, workload.layers - 1, 2)]
    else:
        for index in range(workload.blocks):
            block = f"block{index}"
            pairs.append(([f"{block}.{p}" for p in ("query", "key", "value")], f"{block}.project"))
            pairs.append(([f"{block}.expand"], f"{block}.contract"))
    for columns, row in pairs:
        for column in columns:
            axes |= {f"{column}.weight": 1, f"{column}.bias": 0}
        axes[f"{row}.weight"] = 0
    return axes


def stage_units(workload: Workload, stages: int) -> list[list[str]]:
    """Contiguous groups of units, one a stage; sizes differ by one at most, the first larger."""
    units = workload.units()
    small, extra = divmod(len(units), stages)
    result, start = [], 0
    for stage in range(stages):
        end = start + small + (1 if stage < extra else 0)
        result.append(units[start:end])
        start = end
    return result


def stage_of_weights(workload: Workload, stages: int) -> dict[str, int]:
    """Parameter name -> the stage that holds it; what belongs to no unit rides with its end."""
    stage = {
        unit: index for index, group in enumerate(stage_units(workload, stages)) for unit in group
    }
    ends = {"embed": 0, "norm": stages - 1, "head": stages - 1}
    return {name: (stage | ends)[name.split(".")[0]] for name in workload.shapes()}


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


def check_divides(workload: Workload, strategy: str, variant: str, devices: int) -> None:
    """Raises :class:`UsageError` where the split does not come out even."""
    label = f"{workload.name} {workload.size}, {strategy}"
    if strategy == "data" and workload.global_batch % devices:
        _refuse(label, devices, f"a divisor of the global batch {workload.global_batch}")
    if strategy == "intra_layer":
        for name, axis in shard_axes(workload).items():
            if workload.shapes()[name][axis] % devices:
                _refuse(label, devices, f"a divisor of {name}'s {workload.shapes()[name][axis]}")
        if isinstance(workload, GptSpec) and workload.heads % devices:
            _refuse(label, devices, f"a divisor of the {workload.heads} heads")
    if strategy == "inter_layer":
        if len(workload.units()) < devices:
            _refuse(label, devices, f"at most {len(workload.units())}, one a stage")
        if workload.global_batch % micro_batches(variant, devices):
            parts = micro_batches(variant, devices)
            _refuse(label, devices, f"{parts} micro-batches to divide {workload.global_batch}")


def _refuse(label: str, devices: int, expected: str) -> None:
    raise UsageError(f"devices for {label}", devices, expected, "choose another --devices")
