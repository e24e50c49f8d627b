"""Compares the memory that cases need with the memory that is free, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.formats import size_bytes
from suite.contract.least_memory import least_memory
from suite.contract.splits.division import batch_unit, division_problem
from suite.launch.inputs import batches_of
from suite.machine.gpus import usable_gpus
from suite.machine.memory import available_bytes

NO_BATCH = "not even the smallest batch fits; take a smaller --size, or more GPUs"


@dataclass(frozen=True)
class Room:
    """The memory that is free here.

    Attributes:
        host_bytes: Of the machine, within the limits of its container.
        device_bytes: Of each GPU, in CUDA's order; None where the driver does not tell.
    """

    host_bytes: int
    device_bytes: tuple[int | None, ...] = ()

    def of_device(self, case: Case) -> int | None:
        """What is free for one device of a case; None if the driver does not tell.

        The first GPUs are those that a case takes: what others do on the rest is no matter. The
        fullest of them decides, and ranks that share one share what is free of it.
        """
        here = case.devices // case.hosts
        taken = self.device_bytes[:here]
        told = [free for free in taken if free is not None]
        return min(told) // -(-here // len(taken)) if told else None


def free_room() -> Room:
    """Asks machine, container and GPUs what is free now."""
    return Room(available_bytes(), tuple(gpu.free_bytes for gpu in usable_gpus()))


def shortage(case: Case, room: Room) -> str:
    """Says why a case cannot have the memory that it needs, and what fits; empty if it can."""
    words = _short(case, room)
    if not words:
        return ""
    if batch := largest_batch(case, room):
        return f"{words}: the largest batch that fits is {batch}"
    return f"{words}: {NO_BATCH}"


def _short(case: Case, room: Room) -> str:
    """What is too little.

    What a case needs is a least amount, so one that is not refused may still run out of memory.
    """
    needed = least_memory(case, batches_of(case.spec, case.data))
    # Hosts have equal shares of a case; what is free on the others is not asked.
    for what, asked, free in (
        ("memory", needed.host_bytes // case.hosts, room.host_bytes),
        ("memory of each GPU", needed.device_bytes, room.of_device(case)),
    ):
        if free is not None and asked > free:
            return f"needs at least {size_bytes(asked)} of {what}, {size_bytes(free)} are free"
    return ""


def largest_batch(case: Case, room: Room) -> int:
    """Returns the largest global batch, in samples, that is not refused; 0 if every batch is."""
    unit = batch_unit(case)
    low, high = 0, case.spec.global_batch // unit
    while low < high:
        middle = (low + high + 1) // 2
        if not _short(replace(case, global_batch=middle * unit), room):
            low = middle
        else:
            high = middle - 1
    return low * unit


def check_room(cases: Sequence[Case], room: Room) -> None:
    """Refuses a matrix of which no case fits; else a case that does not fit is a row of its own.

    Raises:
        UsageError: It names the largest batch with which a case of the matrix fits.
    """
    divided = [case for case in cases if not division_problem(case)]
    if not divided or not all(_short(case, room) for case in divided):
        return
    batches = [largest_batch(case, room) for case in divided]
    batch = max(batches)
    case = divided[batches.index(batch)]
    chosen = case.global_batch or case.spec.global_batch
    got = f"{case.workload} {case.size}, {chosen} samples a step"
    expected = f"what fits in memory; {case.case_id} {_short(case, room)}"
    fix = f"--batch {batch} is the largest that fits" if batch else NO_BATCH
    raise UsageError("--batch", got, expected, fix)
