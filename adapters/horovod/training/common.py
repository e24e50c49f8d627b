"""What both engines share: ledger, process sets, whole arrays, and the compute clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from adapters.horovod.training import autotuner
from adapters.horovod.training.interfaces import interface_of_host
from suite.contract.case import Case, Rank
from suite.contract.splits.mesh import Mesh
from suite.contract.splits.shards import shard_axes
from suite.contract.splits.stages import tied_weights
from suite.contract.splits.strategies import AUTOTUNED
from suite.contract.threads import ScheduledLoops, native_threads, preferred_event_loops
from suite.contract.workloads import Weights, Workload

# The defaults of Horovod 0.28, which are recorded with every row, and the variables that would
# change them. A shorter cycle answers small messages sooner but takes time from the rank's only
# core: a cycle of 0.1 ms slowed the single device by 15 %.
CYCLE_MS, FUSION_BYTES = 1, 128 << 20
CYCLE, FUSION, AUTOTUNE = "HOROVOD_CYCLE_TIME", "HOROVOD_FUSION_THRESHOLD", "HOROVOD_AUTOTUNE"
SETTINGS = (CYCLE, FUSION, "HOROVOD_TIMELINE", autotuner.LOG)
# Variants that are tuned by a documented setting. Each leaves one parameter free, see ``join``.
TUNING = {
    "short_cycle": {CYCLE: "0.2"}, "long_cycle": {CYCLE: "5"},
    "small_fusion": {FUSION: str(2 << 20)}, AUTOTUNED: {AUTOTUNE: "1", **autotuner.FIXED},
}
EMULATED = "hops are broadcasts over 2-rank process sets: Horovod has no send/recv"


def backend(case: Case, hvd: Any) -> str:
    """Returns what carries tensors between devices; without NCCL they pass through the host.

    Args:
        Case: The case.
        hvd: ``horovod.torch`` or ``horovod.tensorflow``.
    """
    return "nccl" if case.device == "cuda" and hvd.nccl_built() else "gloo"


def ledger(case: Case, hvd: Any, settings: Mapping[str, str]) -> dict[str, str]:
    """Returns what Horovod adds to a row's fairness ledger.

    Args:
        Case: The case.
        hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        settings: What the autotuner chose, if it did.
    """
    entries = {
        "horovod": metadata.version("horovod"),
        "backend": backend(case, hvd),
        "cycle_time_ms": os.environ.get(CYCLE, str(CYCLE_MS)),
        "fusion_threshold_bytes": os.environ.get(FUSION, str(FUSION_BYTES)),
        "autotune": os.environ[AUTOTUNE],
        "controller": "gloo" if hvd.gloo_enabled() else "mpi",
        **settings,
    }
    if case.compression:
        entries["gradient_communication"] = "float16"
    if case.dtype == "bf16":
        entries["activation_communication"] = "float32: Horovod has no bfloat16"
    return entries | ({"emulated": EMULATED} if "inter_layer" in case.axes.names else {})


def shared_by(case: Case) -> list[tuple[int, ...]]:
    """Returns the ranks of each group in which a case communicates.

    Each group is listed once, and every rank lists them in the same order. Replicas and shards
    reduce over their axis. Stages pass tensors to their neighbours, in a ring if each device has
    several stages. The two ends of a pipeline add up the gradients of the parameters that they
    share.
    """
    mesh = case.axes
    groups = [group for axis in ("data", "intra_layer") if axis in mesh.names
             for group in mesh.groups(axis)]
    for line in mesh.groups("inter_layer") if "inter_layer" in mesh.names else []:
        groups += [list(pair) for pair in pairwise(line)]
        if tied_weights(case.spec, case.stages) or case.stages > len(line):
            groups.append([line[0], line[-1]])
    return list(dict.fromkeys(map(tuple, groups)))


def join(hvd: Any, sets: ProcessSets, case: Case, rank: Rank) -> None:
    """Joins the group without a timeline, with the settings of the case's variant.

    Others have Horovod's default cycle time and fusion threshold. If both are set in the
    environment, even to their defaults, Horovod 0.28.1 has no parameter left to tune, and joining a
    second time ends in a segmentation fault.

    Args:
        hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        sets: The process sets of the case.
        case: The case.
        rank: The place of this rank.
    """
    for name in SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(TUNING.get(case.variant, {}))
    if case.variant == AUTOTUNED:
        os.environ[autotuner.LOG] = str(autotuner.log_path(rank))
    hvd.init(process_sets=sets.new)


class ProcessSets:
    """The process sets of an engine; those in ``new`` have to be passed to ``hvd.init``.

    The set of all ranks exists already, and Horovod refuses to make another one.

    Args:
        Hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        processes: How many ranks there are.
        groups: The ranks of each set that is needed.
    """

    def __init__(self, hvd: Any, processes: int, groups: Iterable[tuple[int, ...]]) -> None:
        self._known = {tuple(range(processes)): hvd.global_process_set}
        missing = [ranks for ranks in groups if ranks not in self._known]
        self.new = [hvd.ProcessSet(list(ranks)) for ranks in missing]
        self._known |= dict(zip(missing, self.new, strict=True))

    def of(self, ranks: Iterable[int]) -> Any:
        """Returns the process set of these ranks."""
        return self._known[tuple(sorted(ranks))]


class OnMesh:
    """Knows a rank's place on the mesh of its case, and the process sets that it belongs to.

    Attributes:
        case: The case.
        rank: The place of this rank.
        sets: The process sets that the case needs.
        settings: What the autotuner chose, as entries of the ledger; empty if it was off.
    """

    case: Case
    rank: Rank
    sets: ProcessSets
    settings: Mapping[str, str] = MappingProxyType({})

    def position(self, axis: str) -> int:
        """Returns the position of this rank on an axis."""
        return self.case.axes.place(axis, self.rank.index)

    def process_set(self, axis: str) -> Any:
        """Returns the set of the ranks that differ from this one only on that axis."""
        return self.sets.of(self.case.axes.group(axis, self.rank.index))

    def hop_ranks(self, lower: int) -> tuple[int, int]:
        """Returns the ranks of this pipeline that hold the stages ``lower`` and ``lower + 1``."""
        line = self.case.axes.group("inter_layer", self.rank.index)
        return line[lower % len(line)], line[(lower + 1) % len(line)]

    def key(self, axis: str, name: str) -> str:
        """Returns a name for a communication of this rank's group that no other group uses."""
        return name + self.case.axes.suffix(axis, self.rank.index)

    @property
    def split(self) -> bool:
        """Whether a rank holds only a part of the parameters."""
        return bool({"intra_layer", "inter_layer"} & set(self.case.axes.names))


def gather_arrays(
    held: Weights, objects: Callable[[Any], list[Any]], flat: Callable[[np.ndarray], np.ndarray]
) -> list[Weights]:
    """Collects the arrays of every rank.

    Names and shapes travel as objects, and the entries of all arrays as one tensor. Horovod turns
    an object into a tensor byte by byte, which would take a second for 6 MB.

    Args:
        Held: This rank's arrays by name; all have the same dtype.
        objects: The engine's all-gather of Python objects.
        flat: The engine's all-gather of one-dimensional arrays.

    Returns:
        The arrays of each rank, in the order of ranks.
    """
    described = objects([(name, array.shape) for name, array in held.items()])
    entries = flat(np.concatenate([array.ravel() for array in held.values()]))
    sizes = [prod(shape) for rank in described for _, shape in rank]
    parts = iter(np.split(entries, np.cumsum(sizes)[:-1]))
    return [{name: next(parts).reshape(shape) for name, shape in rank} for rank in described]


def whole_arrays(workload: Workload, mesh: Mesh, parts: list[Weights]) -> Weights:
    """Assembles whole arrays from the parts that all ranks of the first replica hold.

    If several stages hold a copy of the same parameter, the first stage's copy is taken.

    Args:
        workload: The workload, whose plan says which parameters are split.
        mesh: The mesh of the case.
        parts: What each rank holds by canonical name, in the order of ranks.
    """
    stages = [
        merge_shards(workload, [parts[rank] for rank in mesh.group("intra_layer", first)])
        for first in mesh.group("inter_layer", 0)
    ]
    merged = {name: array for stage in reversed(stages) for name, array in stage.items()}
    return {name: merged[name] for name in workload.shapes() if name in merged}


def my_shard(workload: Workload, name: str, array: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """Returns this rank's part of a parameter, or all of it if the plan does not split it.

    Args:
        Workload: The workload, whose plan says which parameters are split, and on which axis.
        name: The canonical name of the parameter.
        array: The whole parameter.
        rank: The position of this rank among the shards.
        ranks: How many shards there are.
    """
    axes = shard_axes(workload)
    return np.split(array, ranks, axes[name])[rank] if name in axes else array


def merge_shards(workload: Workload, parts: list[Weights]) -> Weights:
    """Assembles whole arrays from the parts of all shards, given in the order of shards."""
    axes = shard_axes(workload)
    return {
        name: np.concatenate([part[name] for part in parts], axes[name]) if name in axes else array
        for name, array in parts[0].items()
    }


class ComputeClock:
    """Measures the CPU seconds of this process without those of the threads that communicate.

    Horovod's threads are the ones that ``hvd.init`` starts. Linux numbers the CPU clock of a thread
    ``~tid << 3 | 6``, which is the formula of pthread_getcpuclockid.
    """

    def __init__(self) -> None:
        self._before = native_threads()
        self._communicating: dict[int, float] = {}

    def initialised(self) -> None:
        """Has to be called right after ``hvd.init``, to recognise the threads that it started."""
        self._communicating = dict.fromkeys(native_threads() - self._before, 0.0)

    @property
    def communicating(self) -> Collection[int]:
        """The ids of Horovod's threads."""
        return self._communicating.keys()

    def seconds(self) -> float:
        """Returns the CPU seconds that the computing threads have used so far."""
        for tid in self._communicating:
            with suppress(OSError):  # a thread that has ended keeps the time it had used
                self._communicating[tid] = time.clock_gettime(~tid << 3 | 6)
        return time.process_time() - sum(self._communicating.values())


class HorovodLink(ScheduledLoops):
    """What the link sessions of both engines share; a hop is a broadcast over ranks 0 and 1."""

    def __init__(self, case: Case, rank: Rank, hvd: Any, started: Collection[int]) -> None:
        super().__init__(started, preferred_event_loops(case.device))
        self.rank, self.backend = rank, backend(case, hvd)
        self.transport = "cuda" if self.backend == "nccl" else f"tcp:{interface_of_host()}"

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call of that collective."""
        return 2 if kind == "broadcast" else self.rank.processes
