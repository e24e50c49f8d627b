"""Pipeline schedules: the order in which micro-batches pass through the stages."""

from __future__ import annotations

from suite.contract.splits.stages import stage_count, stages_of

# (stage, "forward" or "backward", micro-batch): a pass of a micro-batch through a stage.
Work = tuple[int, str, int]


def ideal_bubble(variant: str, devices: int, parts: int) -> float:
    """Computes the share of a step that a device idles if all stages take equally long.

    The formula is (p - 1) / (v * m + p - 1) for p devices, m micro-batches and v stages per
    device; v is 1 except for an interleaved pipeline (Huang et al. 2019; Narayanan et al. 2021,
    section 2.2).

    Args:
        variant: Schedule, such as ``gpipe`` or ``interleaved``.
        devices: Number of devices in the pipeline, p.
        parts: Number of micro-batches in a step, m.

    Returns:
        The bubble as a fraction of the step, from 0 to below 1.
    """
    work = parts * stage_count(variant, devices) // devices
    return (devices - 1) / (work + devices - 1)


def pipeline_order(variant: str, device: int, devices: int, parts: int) -> list[Work]:
    """Lists the forward and backward passes of one device in the order it runs them.

    GPipe (Huang et al. 2019) runs all forward passes, then all backward passes. 1F1B (Narayanan et
    al. 2019) alternates between the two once the pipeline is full, so that a device stores the
    activations of at most as many micro-batches as there are stages::

        gpipe  device 0  F0 F1 F2 F3 .  B0 B1 B2 B3
               device 1  .  F0 F1 F2 F3 B0 B1 B2 B3
        1f1b   device 0  F0 F1 .  B0 F2 B1 F3 B2 .  B3
               device 1  .  F0 B0 F1 B1 F2 B2 F3 B3

    Interleaved 1F1B (Narayanan et al. 2021) gives every device a second, later stage (f, b below).
    Each stage is half as long, and so is the bubble. As many micro-batches as there are devices
    pass the first stage before they pass the second::

        device 0  F0 F1 f0 f1 F2 b0 F3 b1 f2 B0 f3 B1 .  b2 .  b3 B2 B3
        device 1  .  F0 F1 f0 b0 f1 b1 F2 B0 F3 B1 f2 b2 f3 b3 B2 B3 .

    Args:
        variant: ``gpipe``, ``1f1b``, ``naive`` or ``interleaved``.
        device: The device whose passes are asked for, from 0.
        devices: Number of devices in the pipeline.
        parts: Number of micro-batches in a step.

    Returns:
        (stage, ``forward`` or ``backward``, micro-batch) of each pass.
    """
    if variant == "interleaved":
        return _interleaved(device, devices, parts)
    ahead = min(parts, devices - device - 1) if variant == "1f1b" else parts
    return _alternate(
        [(device, "forward", part) for part in range(parts)],
        [(device, "backward", part) for part in range(parts)], ahead,
    )


def _alternate(forwards: list[Work], backwards: list[Work], ahead: int) -> list[Work]:
    """Starts with ``ahead`` forwards, alternates forward and backward, ends with the backwards."""
    turns = zip(forwards[ahead:], backwards, strict=False)
    middle = [work for pair in turns for work in pair]
    return [*forwards[:ahead], *middle, *backwards[len(forwards) - ahead:]]


def _interleaved(device: int, devices: int, parts: int) -> list[Work]:
    """Orders the passes of a device in an interleaved pipeline.

    Micro-batches go in rounds of as many as there are devices; each round passes through all stages
    of the device. Before its first backward pass a device runs a round on every stage except its
    last, and two forwards for every device after it: a micro-batch has to reach the end of the
    pipeline and its gradient has to come back.
    """
    stages = stages_of("interleaved", devices, device)
    rounds = [range(first, first + devices) for first in range(0, parts, devices)]
    forwards = [(s, "forward", part) for group in rounds for s in stages for part in group]
    backwards = [(s, "backward", part) for group in rounds for s in stages[::-1] for part in group]
    ahead = (len(stages) - 1) * devices + 2 * (devices - device - 1)
    return _alternate(forwards, backwards, min(ahead, len(forwards)))


def pipeline_schedule(variant: str, devices: int, parts: int) -> list[Work]:
    """Merges the orders of all devices so that every pass comes after the passes it needs.

    Args:
        variant: ``gpipe``, ``1f1b``, ``naive`` or ``interleaved``.
        devices: Number of devices in the pipeline.
        parts: Number of micro-batches in a step.

    Returns:
        (stage, ``forward`` or ``backward``, micro-batch) of every pass of a step; a single process
        can run them in this order.
    """
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
    """Names the pass on a neighbouring stage whose result a pass waits for.

    Args:
        work: (stage, ``forward`` or ``backward``, micro-batch).
        last: Number of the last stage.

    Returns:
        The pass that has to finish first; None for a forward pass on the first stage and a
        backward pass on the last.
    """
    stage, kind, part = work
    if kind == "forward":
        return (stage - 1, kind, part) if stage else None
    return (stage + 1, kind, part) if stage < last else None


def micro_batches(variant: str, devices: int, accumulate: int = 1) -> int:
    """Counts the micro-batches of a pipeline in a step of one replica.

    A pipeline already accumulates gradients over its micro-batches, so ``accumulate`` multiplies
    their number.

    Args:
        variant: Schedule; ``naive`` passes the whole share through as a single micro-batch.
        devices: Number of devices in the pipeline.
        accumulate: Factor that the user asks for with ``--accumulate``.

    Returns:
        1 for ``naive``, otherwise ``2 * devices * accumulate``.
    """
    return 1 if variant == "naive" else 2 * devices * accumulate
