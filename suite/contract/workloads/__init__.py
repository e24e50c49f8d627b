"""The workloads by name and size, and the initial weights that every framework starts from."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from copy import copy
from functools import cache
from types import ModuleType

import numpy as np

from suite.contract.errors import UsageError
from suite.contract.plugins import load_named, named
from suite.contract.workloads.check import check_workload
from suite.contract.workloads.workload import Adam, Branch, Field, Weights, Workload

GROUP = "suite.workloads"
__all__ = [
    "DEFAULT_SIZES", "WORKLOADS", "Adam", "Branch", "Field", "Weights", "Workload",
    "find_workload", "initial_weights", "parameter_count", "sized_workload",
]

# A family is a module of this package with SIZES and DEFAULT_SIZE; the order is that of tables.
ORDER = ("mlp", "gpt", "bert", "xlnet", "resnet", "efficientnet")


def _families() -> dict[str, ModuleType]:
    """Maps the name of each family to its module; those that ORDER does not name come last."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    families = {module.SIZES[0].name: module for module in modules if hasattr(module, "SIZES")}
    return {name: families[name] for name in dict.fromkeys([*ORDER, *families])}


_FAMILIES = _families()
WORKLOADS: Mapping[str, Mapping[str, Workload]] = {
    name: {spec.size: spec for spec in module.SIZES} for name, module in _FAMILIES.items()
}
DEFAULT_SIZES: Mapping[str, str] = {
    name: module.DEFAULT_SIZE for name, module in _FAMILIES.items()
}


def find_workload(name: str, size: str) -> Workload:
    """Looks up a workload.

    Args:
        name: A workload of the suite, of an installed package (entry points ``suite.workloads``),
            or ``package.module:object``.
        size: Size of the workload; it may be empty if the workload has a single size.

    Returns:
        The workload with its own global batch.

    Raises:
        UsageError: There is no such workload or size; the text lists those that exist.
    """
    sizes = sizes_of(name)
    if not size and len(sizes) == 1:
        return next(iter(sizes.values()))
    if size not in sizes:
        raise UsageError(f"size of {name}", size, f"one of {', '.join(sizes)}", "pick one of these")
    return sizes[size]


@cache
def sized_workload(
    name: str, size: str, global_batch: int = 0, depth: int = 0, padded: int = 0
) -> Workload:
    """Looks up a workload and sets its global batch, its depth and its padding.

    Args:
        name: Name of the workload, as for ``find_workload``.
        size: Size of the workload.
        global_batch: Samples per step over all devices; 0 leaves the workload's own.
        depth: Units that are wanted of a shallower model; 0 leaves the whole one.
        padded: What the vocabulary is padded to a multiple of; 0 leaves it as it is.

    Returns:
        The workload, or a copy of it with the other global batch, depth and padding.

    Raises:
        UsageError: The workload is unknown, or its class does not let the batch, the depth or the
            padding be set.
    """
    own = find_workload(name, size)
    if padded:
        own = _padded(own, padded)
    if depth:
        own = _shallower(own, depth)
    if global_batch in (0, own.global_batch):
        return own
    sized = copy(own)
    try:
        # object.__setattr__ gets past a frozen dataclass. The workload itself is shared by all
        # cases, so only the copy is changed.
        object.__setattr__(sized, "global_batch", global_batch)
    except AttributeError as error:
        raise UsageError(f"global batch of {name}", global_batch, f"{own.global_batch}, its own",
                         f"make it a field of its class ({error})") from error
    return sized


def _padded(own: Workload, multiple: int) -> Workload:
    found = own.padded(multiple)
    if found is None:
        raise UsageError(f"--padded of {own.name}", multiple, "0: it has no vocabulary to pad",
                         "leave --padded out, or run gpt, bert and xlnet alone")
    return found


def _shallower(whole: Workload, depth: int) -> Workload:
    found = whole.shallower(depth)
    if found is None:
        raise UsageError(f"depth of {whole.name} {whole.size}", depth,
                         f"1 to {len(whole.units()) - 1}, and a shallower() in its class",
                         "leave the depth out")
    return found


@cache
def sizes_of(name: str) -> Mapping[str, Workload]:
    """Finds all sizes of a workload; checks a workload from outside against the contract once.

    Args:
        name: Name of the workload, as for ``find_workload``.

    Returns:
        Size to workload.

    Raises:
        UsageError: There is no such workload, or it breaks the contract.
    """
    if name in WORKLOADS:
        return WORKLOADS[name]
    if ":" not in name and name not in named(GROUP):
        own = ", ".join([*WORKLOADS, *named(GROUP)])
        raise UsageError("workload", name, f"one of {own}, or package.module:object",
                         "pick one of these")
    loaded = load_named(GROUP, name, "workload")
    specs = list(loaded) if isinstance(loaded, list | tuple) else [loaded]
    for spec in specs:
        check_workload(name, spec)
    return {spec.size: spec for spec in specs}


def parameter_count(workload: Workload) -> int:
    """Counts the trained scalars of a workload."""
    return sum(int(np.prod(shape)) for shape in workload.shapes().values())


def initial_weights(workload: Workload, seed: int) -> Weights:
    """Draws the initial weights, the same for every framework.

    Weights are normal with variance 1 / fan_in, embedding tables normal with deviation 0.02,
    normalisation scales 1 and biases 0. Rows of padding are 0, and all else is as without them.

    Args:
        workload: The workload whose parameters are drawn.
        seed: Seed of the run.

    Returns:
        Canonical parameter name to a float32 array of the shape in ``workload.shapes()``.
    """
    generator = np.random.default_rng([seed, 1])
    padding = workload.padding_rows()
    weights = {}
    for name, (rows, *others) in workload.shapes().items():
        extra = padding.get(name, 0)
        drawn = _initial(name, (rows - extra, *others), generator)
        weights[name] = np.pad(drawn, [(0, extra), *[(0, 0)] * len(others)]) if extra else drawn
    return weights


def _initial(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    leaf = name.rpartition(".")[2]
    if leaf == "scale":
        return np.ones(shape, np.float32)
    if leaf == "bias":
        return np.zeros(shape, np.float32)
    fan_in = np.prod(shape[:-2] if leaf == "depthwise" else shape[:-1])
    deviation = 0.02 if leaf == "table" else fan_in**-0.5
    return (generator.standard_normal(shape) * deviation).astype(np.float32)
