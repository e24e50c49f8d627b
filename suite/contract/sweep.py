"""The contract of a link sweep: what is swept, and what an adapter's ``link.py`` provides."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from suite.contract.case import Case, Rank

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "send_recv")
ELEMENT_BYTES = 4  # float32
LARGEST_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30}


@dataclass(frozen=True)
class Sweep:
    """What a link session measures, the same on every rank.

    ``sizes[collective]`` are payload bytes: of an all-reduce, broadcast or hop the tensor, of an
    all-gather the gathered tensor, of a reduce-scatter the tensor before it is scattered (the size
    of nccl-tests). Repetitions end at ``repetitions``, or when ``seconds`` are spent and at least
    ``FEWEST`` are done. Before each call the group idles ``pause_s``, so that a token bucket fills
    up again, or each rank computes for ``load_s``, as it does between the calls of a step.
    """

    sizes: dict[str, list[int]]
    repetitions: int
    seconds: float
    seed: int = 0
    pause_s: float = 0.0
    load_s: float = 0.0

    FEWEST, SMALL_BYTES, SMALL_CALLS = 3, 128 << 10, 5

    @classmethod
    def calls_of(cls, payload_bytes: int) -> int:
        """Calls of one size in a repetition.

        A short call costs little, and a scheduler's tick, as long as ten of it, is often in one.
        """
        return cls.SMALL_CALLS if payload_bytes <= cls.SMALL_BYTES else 1

    def order(self, repetition: int) -> list[tuple[str, int]]:
        """Every collective and size once, shuffled alike on every rank."""
        calls = [(name, size) for name, sizes in self.sizes.items() for size in sizes]
        return random.Random(f"{self.seed}.{repetition}").sample(calls, len(calls))

    def write(self, path: Path) -> None:
        """Writes the sweep as JSON, for the ranks."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """The sweep that ``write`` left in a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def payload_sizes(
    collective: str, devices: int, low: int, high: int, factor: int = 2
) -> list[int]:
    """Powers of ``factor`` from ``low`` to ``high`` bytes and both ends, in whole elements.

    What every rank holds a share of is a whole number of elements a rank.
    """
    shares = devices if collective in ("all_gather", "reduce_scatter") else 1
    unit = ELEMENT_BYTES * shares
    sizes, size = {high}, low
    while size < high:
        sizes.add(size)
        size *= factor
    return sorted({max(unit, round(size / unit) * unit) for size in sizes})


Interval = tuple[int, float, float]
Call = Callable[[], Sequence[Interval]]


class LinkSession(Protocol):
    """The transport of one framework and engine, opened in a rank (``open_link(case, rank)``)."""

    backend: str
    transport: str

    def participants(self, kind: str) -> int:
        """Devices that take part in a call: 2 for a hop."""

    def barrier(self) -> None:
        """Returns when every rank is here; a collective call."""

    def agree(self, ready: bool) -> bool:
        """True when every rank says so; a collective call."""

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """A function that makes one call and returns when its result can be used.

        It gives (device, start, end) for each device of this process that takes part: seconds on
        a clock that all ranks of this host share; none where this rank has no part.
        """

    def close(self) -> None:
        """Leaves the process group."""


class OpenLink(Protocol):
    """Signature of ``open_link``."""

    def __call__(self, case: Case, rank: Rank) -> LinkSession: ...
