"""Which ways of splitting a configuration asks for: by name, or every one that there is."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from suite.config.model import MeasureConfig
from suite.contract.case import STRONG, WEAK
from suite.contract.errors import UsageError
from suite.contract.splits.mesh import (
    balances,
    every_mesh,
    mesh_of,
    mesh_text,
    parse_mesh,
    parts_of,
)
from suite.contract.splits.stages import stage_count
from suite.contract.splits.strategies import (
    AUTO,
    COMBINED,
    COMPRESSIONS,
    STRATEGIES,
    TUNED,
    VARIANTS,
)

# The name under which users ask for the unnamed variant of a strategy.
DEFAULT = "default"


class Way(NamedTuple):
    """A way of splitting.

    Attributes:
        strategy: Name of the strategy.
        variant: Its variant; empty for the plain one.
        devices: Number of devices in all.
        mesh: Sizes of a combined strategy's axes; empty if it has one axis.
        cut: Units of each stage; empty to balance FLOPs.
    """

    strategy: str
    variant: str
    devices: int
    mesh: str
    cut: tuple[int, ...] = ()


def ways_asked(config: MeasureConfig) -> list[Way]:
    """Lists the ways that a configuration names; all that exist if it says ``auto``.

    Raises:
        UsageError: A mesh or a cut fits none of them, or ``auto`` stands beside other names.
    """
    _check_meshes_used(config)
    if AUTO in config.strategy:
        if len(config.strategy) > 1:
            raise UsageError("--strategy", ",".join(config.strategy), "auto alone",
                             "drop the others: auto looks at every strategy")
        if WEAK in config.scaling:
            raise UsageError("--scaling", ",".join(config.scaling), f"{STRONG} beside --strategy "
                             "auto, whose ways share one global batch",
                             "drop it, and give the grown batch: --batch")
        found = [Way(strategy, variant, count, mesh)
                 for strategy in (*STRATEGIES, *COMBINED)
                 for variant in _every_variant(strategy, config.variant)
                 for count, mesh in _every_mesh(strategy, config)]
    else:
        found = [Way(strategy, variant, count, mesh) for strategy in config.strategy
                 for variant in _variants(strategy, config.variant)
                 for count, mesh in _devices(strategy, config)]
    return _with_cuts(found, config.cut)


def _with_cuts(found: list[Way], asked: list[str]) -> list[Way]:
    """Gives pipelines the cuts that have as many stages as they have."""
    cuts = [tuple(int(units) for units in text.split(",")) for text in asked]
    cut = [way._replace(cut=one) for way in found for one in cuts if len(one) == _stages(way)]
    if asked and not cut:
        counts = sorted({_stages(way) for way in found} - {1})
        stages = " or ".join(map(str, counts)) or "no"
        raise UsageError("--cut", " ".join(asked), f"one for {stages} stages",
                         "correct it, or ask for a pipeline: --strategy inter_layer")
    lengths = set(map(len, cuts))
    return [way for way in found if _stages(way) not in lengths] + cut


def _stages(way: Way) -> int:
    if "inter_layer" not in parts_of(way.strategy):
        return 1
    mesh = mesh_of(way.strategy, way.devices, way.mesh)
    return stage_count(way.variant, mesh.size("inter_layer"))


def _devices(strategy: str, config: MeasureConfig) -> list[tuple[int, str]]:
    """Returns the numbers of devices of a strategy, and the mesh for each (empty if it has one
    axis).

    ``single`` always has one device and is the base of every other number. A combined strategy gets
    the meshes that the user asked for, and balanced meshes for the other numbers that have enough
    factors.
    """
    parts = parts_of(strategy)
    if len(parts) < 2:
        return [(count, "") for count in (config.devices if parts else [1])]
    meshes = []
    for text in config.mesh:
        if set(sizes := parse_mesh(text)) == set(parts):
            count = prod(sizes.values())
            asked = count if count in config.devices else max(config.devices)
            meshes.append(mesh_of(strategy, asked, text))
    given = {mesh.devices for mesh in meshes}
    meshes += [mesh_of(strategy, count) for count in config.devices
               if count not in given and balances(strategy, count)]
    if not meshes:
        mesh_of(strategy, config.devices[0])
    choices = [(mesh.devices, mesh_text(strategy, mesh)) for mesh in meshes]
    return sorted(dict.fromkeys(choices), key=lambda choice: config.devices.index(choice[0]))


def _every_mesh(strategy: str, config: MeasureConfig) -> list[tuple[int, str]]:
    """Returns every number of devices of a strategy with every mesh of it, or those asked for."""
    parts = parts_of(strategy)
    if len(parts) < 2:
        return _devices(strategy, config)
    found = [(mesh.devices, mesh_text(strategy, mesh)) for count in config.devices
             for mesh in every_mesh(strategy, count)]
    asked = {tuple(sorted(parse_mesh(text).items())) for text in config.mesh}
    return [(count, text) for count, text in found
            if not asked or tuple(sorted(parse_mesh(text).items())) in asked]


def _check_meshes_used(config: MeasureConfig) -> None:
    """Raises :class:`UsageError` if a mesh fits none of the strategies."""
    strategies = list(COMBINED) if AUTO in config.strategy else config.strategy
    axes = [set(parts_of(strategy)) for strategy in strategies if "+" in strategy]
    for text in config.mesh:
        if set(parse_mesh(text)) not in axes:
            expected = f"the axes of {', '.join(s for s in strategies if '+' in s)}"
            if not axes:
                expected = f"a combined strategy: {', '.join(COMBINED)}"
            raise UsageError("--mesh", text, expected, "name the axes of a --strategy")


def variant_names() -> list[str]:
    """Returns every named variant of every strategy."""
    return [name for names in VARIANTS.values() for name in names if name]


def _variants(strategy: str, asked: list[str]) -> list[str]:
    """Returns the variants of a strategy that the user asked for, or its first variant.

    The user asks for the unnamed variant as ``default``.
    """
    offered = (VARIANTS | COMBINED)[strategy]
    wanted = [name for name in offered if (name or DEFAULT) in asked]
    return wanted or [offered[0]]


def _every_variant(strategy: str, asked: list[str]) -> Iterator[str]:
    """Yields the variants that were asked for, with the first one, which others are compared with.

    If none was named these are all that compute the same, which gradients sent in 16 bits do not,
    in another way: settings of a library have to be named.
    """
    offered = (VARIANTS | COMBINED)[strategy]
    for name in offered:
        wanted = name in asked if asked else name not in (*COMPRESSIONS, *TUNED)
        if wanted or name == offered[0]:
            yield name
