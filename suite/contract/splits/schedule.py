"""Pipeline schedules as data: which micro-batch passes which stage, and when."""

from __future__ import annotations

from suite.contract.splits.stages import stage_count, stages_of

Work = tuple[int, str, int]


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
