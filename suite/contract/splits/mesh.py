"""A mesh of devices as data: an axis for each part of a strategy, and who shares a group on it.

Ranks count with the innermost axis fastest, as Megatron-LM orders them: intra-layer groups, which
communicate in every layer, are neighbours; stages, which only pass activations on, are furthest
apart (Narayanan et al. 2021, section 3). Of ``data=2,intra_layer=2,inter_layer=2``::

    stage 0   replica 0: ranks 0 1   replica 1: ranks 2 3
    stage 1   replica 0: ranks 4 5   replica 1: ranks 6 7
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from suite.contract.errors import UsageError

# Outermost first.
ORDER = ("inter_layer", "data", "intra_layer")
# Who gets the larger factors: replicas communicate once a step, and every batch divides.
LARGER_FIRST = ("data", "inter_layer", "intra_layer")
PLACES = {"inter_layer": "stage", "data": "replica", "intra_layer": "shard"}
EXAMPLE = "AXIS=DEVICES for each axis, such as data=2,intra_layer=2"


@dataclass(frozen=True)
class Mesh:
    """``axes`` are (name, size), outermost first; a pure strategy has one, a single device none."""

    axes: tuple[tuple[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.axes)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(size for _, size in self.axes)

    @property
    def devices(self) -> int:
        return prod(self.sizes)

    def size(self, axis: str) -> int:
        """1 for an axis that the mesh lacks."""
        return dict(self.axes).get(axis, 1)

    def stride(self, axis: str) -> int:
        """Ranks between two neighbours on an axis."""
        return prod(self.sizes[self.names.index(axis) + 1 :]) if axis in self.names else 1

    def place(self, axis: str, rank: int) -> int:
        """Where a rank is on an axis; 0 on one that the mesh lacks."""
        return rank // self.stride(axis) % self.size(axis)

    def group(self, axis: str, rank: int) -> list[int]:
        """The ranks that differ from ``rank`` on this axis alone, in its order."""
        first = rank - self.place(axis, rank) * self.stride(axis)
        return [first + number * self.stride(axis) for number in range(self.size(axis))]

    def groups(self, axis: str) -> list[list[int]]:
        """Every group of an axis; each rank is in one."""
        return [self.group(axis, rank) for rank in range(self.devices)
                if not self.place(axis, rank)]

    def suffix(self, axis: str, rank: int) -> str:
        """What tells a rank's group on an axis from the others; empty where there is one."""
        first = self.group(axis, rank)[0]
        return f".group{first}" if len(self.groups(axis)) > 1 else ""

    def name(self, rank: int) -> str:
        """``device 1``, ``stage 1``, ``device 3 (replica 1, shard 1)``."""
        if self.names == ("inter_layer",):
            return f"stage {rank}"
        places = ", ".join(f"{PLACES[axis]} {self.place(axis, rank)}" for axis in self.names)
        return f"device {rank} ({places})" if len(self.axes) > 1 else f"device {rank}"


def parts_of(strategy: str) -> tuple[str, ...]:
    """``data+intra_layer`` -> its axes, in the order of the name."""
    return () if strategy == "single" else tuple(strategy.split("+"))


@cache
def mesh_of(strategy: str, devices: int, text: str = "") -> Mesh:
    """The mesh of a strategy; ``text`` gives sizes, otherwise they are balanced.

    Raises :class:`UsageError` where the sizes are not those of so many devices.
    """
    parts = parts_of(strategy)
    if not parts:
        return Mesh(())
    if text:
        sizes = _given(strategy, devices, text)
    else:
        sizes = {parts[0]: devices} if len(parts) == 1 else _balanced(strategy, devices)
    return Mesh(tuple((axis, sizes[axis]) for axis in ORDER if axis in sizes))


def mesh_text(strategy: str, mesh: Mesh) -> str:
    """``data=2,intra_layer=2``, in the order of the strategy's name; empty for a pure one."""
    parts = parts_of(strategy)
    return ",".join(f"{axis}={mesh.size(axis)}" for axis in parts) if len(parts) > 1 else ""


def mesh_shape(text: str) -> str:
    """``data=2,intra_layer=2`` -> ``2x2``."""
    return "x".join(str(size) for size in parse_mesh(text).values()) if text else ""


def parse_mesh(text: str) -> dict[str, int]:
    """Axis -> devices along it; raises :class:`UsageError`."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = (word.strip() for word in part.partition("="))
        if axis not in ORDER or axis in sizes or not size.isdecimal() or int(size) < 2:
            expected = f"{EXAMPLE}, of {', '.join(LARGER_FIRST)}, each once and 2 or more"
            raise UsageError("--mesh", text, expected, "correct it")
        sizes[axis] = int(size)
    return sizes


def _given(strategy: str, devices: int, text: str) -> dict[str, int]:
    sizes = parse_mesh(text)
    if set(sizes) != set(parts_of(strategy)):
        expected = f"the axes of {strategy}: {', '.join(parts_of(strategy))}"
        raise UsageError("--mesh", text, expected, "name each of them")
    if prod(sizes.values()) != devices:
        expected = f"a product of {devices}, the number of devices"
        raise UsageError("--mesh", f"{text}, which is {prod(sizes.values())}", expected,
                         "choose other sizes, or another --devices")
    return sizes


def balances(strategy: str, devices: int) -> bool:
    """Whether each axis of a strategy can have two devices or more."""
    return len(_prime_factors(devices)) >= len(parts_of(strategy))


def _balanced(strategy: str, devices: int) -> dict[str, int]:
    """As equal as prime factors allow, the larger ones for whom it costs least."""
    parts = parts_of(strategy)
    sizes = [1] * len(parts)
    for factor in sorted(_prime_factors(devices), reverse=True):
        sizes[sizes.index(min(sizes))] *= factor
    if not balances(strategy, devices):
        expected = f"a product of {len(parts)} numbers above 1, such as {2 ** len(parts)}"
        raise UsageError(f"devices for {strategy}", devices, expected, "choose another --devices")
    wanted = [axis for axis in LARGER_FIRST if axis in parts]
    return dict(zip(wanted, sorted(sizes, reverse=True), strict=True))


def _prime_factors(number: int) -> list[int]:
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found
