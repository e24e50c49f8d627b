"""The workloads by name and size, and the initial weights that every framework starts from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cache

import numpy as np

from suite.contract.errors import UsageError
from suite.contract.plugins import load_named, named
from suite.contract.workloads.bert import BertSpec
from suite.contract.workloads.check import check_workload
from suite.contract.workloads.efficientnet import EfficientNetSpec, Stage
from suite.contract.workloads.gpt import GptSpec
from suite.contract.workloads.mlp import MlpSpec
from suite.contract.workloads.resnet import ResNetSpec
from suite.contract.workloads.workload import Adam, Branch, Field, Weights, Workload
from suite.contract.workloads.xlnet import XLNetSpec

GROUP = "suite.workloads"
__all__ = ["WORKLOADS", "Adam", "Branch", "Field", "Weights", "Workload", "find_workload",
           "initial_weights", "parameter_count", "sized_workload"]

_ALL: list[Workload] = [
    MlpSpec("tiny", (30, 10, 1), "breast-cancer", 64),
    MlpSpec("wide", (64, 1024, 1024, 1024, 1024, 10), "digits", 128, "gelu"),
    GptSpec("tiny", 256, 32, 64, 4, 4, 8),
    GptSpec("small", 256, 128, 256, 8, 4, 8),
    GptSpec("gpt2", 50257, 1024, 768, 12, 12, 8),
    GptSpec("gpt3-xl", 50257, 2048, 2048, 16, 24, 8),
    GptSpec("gpt3-6.7b", 50257, 2048, 4096, 32, 32, 8),
    BertSpec("tiny", 257, 32, 64, 4, 4, 8, 256),
    BertSpec("small", 257, 128, 256, 8, 4, 8, 256),
    BertSpec("base", 30522, 512, 768, 12, 12, 8, 103),
    BertSpec("large", 30522, 512, 1024, 16, 24, 8, 103),
    XLNetSpec("tiny", 256, 32, 64, 4, 4, 8),
    XLNetSpec("small", 256, 128, 256, 8, 4, 8),
    XLNetSpec("base", 32000, 512, 768, 12, 12, 8),
    ResNetSpec("tiny", (2, 2), False, 32, 10, 16, 16),
    ResNetSpec("small", (1, 1, 1, 1), True, 64, 10, 16),
    ResNetSpec("18", (2, 2, 2, 2), False),
    ResNetSpec("50", (3, 4, 6, 3), True),
    ResNetSpec("101", (3, 4, 23, 3), True),
    EfficientNetSpec(
        "tiny", 32, 10, 16, stem_width=16,
        stages=(Stage(1, 3, 1, 16, 1), Stage(4, 5, 2, 24, 2), Stage(4, 3, 2, 40, 1)),
    ),
    EfficientNetSpec("small", 64, 10, 16),
    EfficientNetSpec("b0"),
    EfficientNetSpec("b4", 380, 1000, 32, 1.4, 1.8),
]
WORKLOADS: Mapping[str, Mapping[str, Workload]] = {
    name: {spec.size: spec for spec in _ALL if spec.name == name}
    for name in dict.fromkeys(spec.name for spec in _ALL)
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
def sized_workload(name: str, size: str, global_batch: int = 0) -> Workload:
    """Looks up a workload and sets its global batch.

    Args:
        name: Name of the workload, as for ``find_workload``.
        size: Size of the workload.
        global_batch: Samples per step over all devices; 0 leaves the workload's own.

    Returns:
        The workload, or a copy of it with the other global batch.

    Raises:
        UsageError: The workload is unknown, or its class does not let the batch be set.
    """
    own = find_workload(name, size)
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
    normalisation scales 1 and biases 0.

    Args:
        workload: The workload whose parameters are drawn.
        seed: Seed of the run.

    Returns:
        Canonical parameter name to a float32 array of the shape in ``workload.shapes()``.
    """
    generator = np.random.default_rng([seed, 1])
    return {name: _initial(name, shape, generator) for name, shape in workload.shapes().items()}


def _initial(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    leaf = name.rpartition(".")[2]
    if leaf == "scale":
        return np.ones(shape, np.float32)
    if leaf == "bias":
        return np.zeros(shape, np.float32)
    fan_in = np.prod(shape[:-2] if leaf == "depthwise" else shape[:-1])
    deviation = 0.02 if leaf == "table" else fan_in**-0.5
    return (generator.standard_normal(shape) * deviation).astype(np.float32)
