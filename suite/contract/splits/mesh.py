"""The mesh of devices: an axis for each part of a strategy, and groups of ranks along each axis.

Ranks are numbered with the innermost axis changing fastest, as Megatron-LM orders them: the ranks
of an intra-layer group, which communicate in every layer, are neighbours, and pipeline stages,
which only pass activations on, are furthest apart (Narayanan et al. 2021, section 3). For example
``data=2,intra_layer=2,inter_layer=2``::

    stage 0   replica 0: ranks 0 1   replica 1: ranks 2 3
    stage 1   replica 0: ranks 4 5   replica 1: ranks 6 7
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from suite.contract.errors import UsageError

# The axes from the outermost (slowest changing rank) to the innermost.
ORDER = ("inter_layer", "data", "intra_layer")
# Which axis gets the largest factor of the device count: replicas come first, since they
# communicate only once a step and a batch is easier to divide than a model.
LARGER_FIRST = ("data", "inter_layer", "intra_layer")
PLACES = {"inter_layer": "stage", "data": "replica", "intra_layer": "shard"}
EXAMPLE = "AXIS=DEVICES for each axis, such as data=2,intra_layer=2"


@dataclass(frozen=True)
class Mesh:
    """The devices of a case, arranged along named axes.

    Attributes:
        axes: (name, number of devices) of each axis, outermost first. A pure strategy has one
            axis, a single device none.
    """

    axes: tuple[tuple[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes, outermost first."""
        return tuple(name for name, _ in self.axes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of devices along each axis, outermost first."""
        return tuple(size for _, size in self.axes)

    @property
    def devices(self) -> int:
        """The number of devices in the whole mesh."""
        return prod(self.sizes)

    def size(self, axis: str) -> int:
        """Returns the number of devices along ``axis``; 1 if the mesh does not have that axis."""
        return dict(self.axes).get(axis, 1)

    def stride(self, axis: str) -> int:
        """Returns how far apart in rank two neighbours along ``axis`` are."""
        return prod(self.sizes[self.names.index(axis) + 1 :]) if axis in self.names else 1

    def place(self, axis: str, rank: int) -> int:
        """Returns the position of ``rank`` along ``axis``; 0 if the mesh lacks that axis."""
        return rank // self.stride(axis) % self.size(axis)

    def group(self, axis: str, rank: int) -> list[int]:
        """Returns the ranks that differ from ``rank`` in their position along ``axis`` only.

        They are in the order of that axis and include ``rank`` itself.
        """
        first = rank - self.place(axis, rank) * self.stride(axis)
        return [first + number * self.stride(axis) for number in range(self.size(axis))]

    def groups(self, axis: str) -> list[list[int]]:
        """Returns all groups along ``axis``; every rank is in exactly one of them."""
        return [self.group(axis, rank) for rank in range(self.devices)
                if not self.place(axis, rank)]

    def suffix(self, axis: str, rank: int) -> str:
        """Returns a suffix that makes names unique to the rank's group; empty for a sole group."""
        first = self.group(axis, rank)[0]
        return f".group{first}" if len(self.groups(axis)) > 1 else ""

    def name(self, rank: int) -> str:
        """Names a rank for people: ``device 1``, ``stage 1``, ``device 3 (replica 1, shard 1)``."""
        if self.names == ("inter_layer",):
            return f"stage {rank}"
        places = ", ".join(f"{PLACES[axis]} {self.place(axis, rank)}" for axis in self.names)
        return f"device {rank} ({places})" if len(self.axes) > 1 else f"device {rank}"


def parts_of(strategy: str) -> tuple[str, ...]:
    """Returns the axes of a strategy, in the order of its name; none for ``single``."""
    return () if strategy == "single" else tuple(strategy.split("+"))


@cache
def mesh_of(strategy: str, devices: int, text: str = "") -> Mesh:
    """Arranges devices as the mesh of a strategy.

    Args:
        strategy: Strategy name, such as ``data+intra_layer``.
        devices: Number of devices in all.
        text: Sizes of the axes, such as ``data=2,intra_layer=2``. When empty, the devices are
            spread over the axes as evenly as possible.

    Returns:
        The mesh; without axes for ``single``.

    Raises:
        UsageError: The sizes name other axes or another number of devices, or the number of
            devices cannot be spread over all axes.
    """
    parts = parts_of(strategy)
    if not parts:
        return Mesh(())
    if text:
        sizes = _sizes_asked(strategy, devices, text)
    else:
        sizes = {parts[0]: devices} if len(parts) == 1 else _balanced(strategy, devices)
    return Mesh(tuple((axis, sizes[axis]) for axis in ORDER if axis in sizes))


def every_mesh(strategy: str, devices: int) -> list[Mesh]:
    """Returns every mesh of a strategy on that many devices, each axis with two or more."""
    parts = parts_of(strategy)
    sizes: list[tuple[int, ...]] = [()]
    for _ in parts[1:]:
        sizes = [(*before, size) for before in sizes
                 for size in range(2, devices // prod(before) + 1)
                 if devices % (prod(before) * size) == 0]
    whole = [(*before, devices // prod(before)) for before in sizes]
    texts = [",".join(f"{axis}={size}" for axis, size in zip(parts, each, strict=True))
             for each in whole if min(each) > 1]
    return [mesh_of(strategy, devices, text) for text in texts]


def mesh_text(strategy: str, mesh: Mesh) -> str:
    """Writes the sizes as ``data=2,intra_layer=2``, in the strategy's order; empty if pure."""
    parts = parts_of(strategy)
    return ",".join(f"{axis}={mesh.size(axis)}" for axis in parts) if len(parts) > 1 else ""


def mesh_shape(text: str) -> str:
    """Shortens ``data=2,intra_layer=2`` to ``2x2``."""
    return "x".join(str(size) for size in parse_mesh(text).values()) if text else ""


def parse_mesh(text: str) -> dict[str, int]:
    """Reads the text of ``--mesh``.

    Args:
        text: Comma-separated ``axis=devices``.

    Returns:
        The number of devices of each axis, in the order given.

    Raises:
        UsageError: An axis is unknown or given twice, or its size is not a whole number above 1.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = (word.strip() for word in part.partition("="))
        if axis not in ORDER or axis in sizes or not size.isdecimal() or int(size) < 2:
            expected = f"{EXAMPLE}, of {', '.join(LARGER_FIRST)}, each once and 2 or more"
            raise UsageError("--mesh", text, expected, "correct it")
        sizes[axis] = int(size)
    return sizes


def _sizes_asked(strategy: str, devices: int, text: str) -> dict[str, int]:
    """Reads the sizes that the user asked for and checks them against strategy and devices."""
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
    """Tells whether ``devices`` can be spread so that every axis has two or more."""
    return len(_prime_factors(devices)) >= len(parts_of(strategy))


def _balanced(strategy: str, devices: int) -> dict[str, int]:
    """Spreads prime factors over the axes as evenly as possible; ``LARGER_FIRST`` breaks ties."""
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
    factors, factor = [], 2
    while number > 1:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    return factors
