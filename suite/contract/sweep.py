"""The contract of a link sweep: what is measured, and what an adapter's ``link.py`` provides."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from suite.contract.case import Case, Rank

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "send_recv")
ELEMENT_BYTES = 4  # float32
LARGEST_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30}


@dataclass(frozen=True)
class Sweep:
    """What a link session measures; it is the same on every rank.

    Attributes:
        sizes: Collective to payload sizes in bytes. For an all-reduce, a broadcast and a
            point-to-point transfer this is the size of the tensor; for an all-gather that of the
            gathered tensor; for a reduce-scatter that of the tensor before it is scattered, as in
            nccl-tests.
        repetitions: The most repetitions.
        seconds: No further repetition begins after this time, if at least ``FEWEST`` are done.
        seed: Seed of the order of the calls.
        pause_s: How long the group idles before each call, so that a token bucket fills up again.
        load_s: How long each rank computes before each call, as it does between the calls of a
            step.
        pipelined: What is swept with event loops scheduled as those of a pipeline's stages are.
    """

    sizes: dict[str, list[int]]
    repetitions: int
    seconds: float
    seed: int = 0
    pause_s: float = 0.0
    load_s: float = 0.0
    pipelined: dict[str, list[int]] = field(default_factory=dict)

    FEWEST, SMALL_BYTES, SMALL_CALLS = 3, 128 << 10, 5

    @property
    def names(self) -> list[str]:
        """Every collective that is swept."""
        return list(self.sizes | self.pipelined)

    @classmethod
    def calls_of(cls, payload_bytes: int) -> int:
        """Returns how many calls of one size a repetition makes.

        Small calls are repeated: they cost little, and a scheduler's tick, which takes ten times
        as long, often falls into one of them.
        """
        return cls.SMALL_CALLS if payload_bytes <= cls.SMALL_BYTES else 1

    def order(self, repetition: int) -> list[tuple[str, int]]:
        """Returns every collective with each of its sizes once, shuffled alike on every rank."""
        calls = [(name, size) for name, sizes in self.sizes.items() for size in sizes]
        return random.Random(f"{self.seed}.{repetition}").sample(calls, len(calls))

    def write(self, path: Path) -> None:
        """Writes the sweep as JSON, for the ranks."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Reads a sweep from the file that ``write`` made."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def payload_sizes(
    collective: str, devices: int, low: int, high: int, factor: int = 2
) -> list[int]:
    """Lists the payload sizes of a sweep: powers of a factor between two sizes, and both ends.

    Args:
        collective: Name of the collective.
        devices: Number of devices that take part. A payload that is cut into shares is a whole
            number of elements for each device.
        low: Smallest payload in bytes.
        high: Largest payload in bytes.
        factor: Ratio of neighbouring sizes.

    Returns:
        Sizes in bytes, rising.
    """
    shares = devices if collective in ("all_gather", "reduce_scatter") else 1
    unit = ELEMENT_BYTES * shares
    sizes, size = {high}, low
    while size < high:
        sizes.add(size)
        size *= factor
    return sorted({max(unit, round(size / unit) * unit) for size in sizes})


# (device, start, end): the device of this process, and seconds on a clock that all ranks share.
Interval = tuple[int, float, float]
# Makes one call and returns the interval of each device that took part.
Call = Callable[[], Sequence[Interval]]


class LinkSession(Protocol):
    """The transport of one framework and engine in a rank, as ``open_link(case, rank)`` opens it.

    Attributes:
        backend: What carries the data, such as ``gloo``.
        transport: Over what it is carried, such as ``tcp:lo``.
    """

    backend: str
    transport: str

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call: 2 in a point-to-point transfer."""

    def barrier(self) -> None:
        """Returns once every rank has called it; a collective call."""

    def agree(self, ready: bool) -> bool:
        """Returns True if ``ready`` is true on every rank; a collective call."""

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Prepares a call of a collective with a payload.

        Args:
            kind: Name of the collective.
            payload_bytes: Size of the payload.

        Returns:
            A function that makes one call and returns once its result can be used. It gives the
            interval of each device of this process that takes part, in seconds on a clock that all
            ranks of this host share; none if this rank takes no part.
        """

    def close(self) -> None:
        """Leaves the process group."""


@runtime_checkable
class SchedulesLoops(Protocol):
    """A link session that can change how its event loops are scheduled.

    Attributes:
        event_loops: How they are scheduled now, ``batch`` or ``default``.
    """

    event_loops: str

    def schedule(self, preferred: str) -> str:
        """Schedules them otherwise, unless the user has said how; returns how they are now."""


class OpenLink(Protocol):
    """The signature of an adapter's ``open_link``."""

    def __call__(self, case: Case, rank: Rank) -> LinkSession: ...
