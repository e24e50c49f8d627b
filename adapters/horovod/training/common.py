"""What both engines share: the ledger, process sets, whole arrays, who computes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from adapters.horovod.training.interfaces import interface_of_host
from suite.contract.case import Case, Rank
from suite.contract.splits.mesh import Mesh
from suite.contract.splits.shards import shard_axes
from suite.contract.splits.stages import tied_weights
from suite.contract.threads import native_threads
from suite.contract.workloads import Weights, Workload

# The defaults of Horovod 0.28, recorded with every row, and what would change them. A shorter cycle
# answers small messages sooner but takes time from the rank's one core: 0.1 ms slowed the single
# device by 15 %.
CYCLE_MS, FUSION_BYTES = 1, 128 << 20
SETTINGS = ("HOROVOD_CYCLE_TIME", "HOROVOD_FUSION_THRESHOLD", "HOROVOD_TIMELINE")
EMULATED = "hops are broadcasts over 2-rank process sets: Horovod has no send/recv"


def backend(case: Case, hvd: Any) -> str:
    """What carries a device's tensors; without NCCL they pass through the host."""
    return "nccl" if case.device == "cuda" and hvd.nccl_built() else "gloo"


def ledger(case: Case, hvd: Any) -> dict[str, str]:
    """What Horovod adds to a row's fairness ledger."""
    found = {
        "horovod": metadata.version("horovod"),
        "backend": backend(case, hvd),
        "cycle_time_ms": str(CYCLE_MS),
        "fusion_threshold_bytes": str(FUSION_BYTES),
        "autotune": os.environ["HOROVOD_AUTOTUNE"],
        "controller": "gloo" if hvd.gloo_enabled() else "mpi",
    }
    if case.compression:
        found["gradient_communication"] = "float16"
    if case.dtype == "bf16":
        found["activation_communication"] = "float32: Horovod has no bfloat16"
    return found | ({"emulated": EMULATED} if "inter_layer" in case.axes.names else {})


def shared_by(case: Case) -> list[tuple[int, ...]]:
    """Ranks of every group that a case communicates in, each once, alike on every rank.

    Replicas and shards reduce over their axis, stages pass on to their neighbours (in a ring where
    devices take their stages in turns), and the ends of a pipeline add up what they tie.
    """
    mesh = case.axes
    found = [group for axis in ("data", "intra_layer") if axis in mesh.names
             for group in mesh.groups(axis)]
    for line in mesh.groups("inter_layer") if "inter_layer" in mesh.names else []:
        found += [list(pair) for pair in pairwise(line)]
        if tied_weights(case.spec, case.stages) or case.stages > len(line):
            found.append([line[0], line[-1]])
    return list(dict.fromkeys(map(tuple, found)))


def join(hvd: Any, sets: ProcessSets) -> None:
    """Joins the group with Horovod's own cycle time and fusion threshold, and without a timeline.

    Both named in the environment, even with these values, leave Horovod 0.28.1 without a parameter
    to tune: joining again is then a segmentation fault.
    """
    for name in SETTINGS:
        os.environ.pop(name, None)
    hvd.init(process_sets=sets.new)


class ProcessSets:
    """An engine's process sets, made before the group is joined with ``new``.

    The set of all ranks exists already, and Horovod refuses a second one.
    """

    def __init__(self, hvd: Any, processes: int, groups: Iterable[tuple[int, ...]]) -> None:
        self._known = {tuple(range(processes)): hvd.global_process_set}
        missing = [ranks for ranks in groups if ranks not in self._known]
        self.new = [hvd.ProcessSet(list(ranks)) for ranks in missing]
        self._known |= dict(zip(missing, self.new, strict=True))

    def of(self, ranks: Iterable[int]) -> Any:
        """The process set of these ranks."""
        return self._known[tuple(sorted(ranks))]


class OnMesh:
    """A rank's place on the mesh of its case, and the process sets that it belongs to."""

    case: Case
    rank: Rank
    sets: ProcessSets

    def position(self, axis: str) -> int:
        """Where this rank is on an axis."""
        return self.case.axes.place(axis, self.rank.index)

    def process_set(self, axis: str) -> Any:
        """The ranks that differ from this one on that axis alone."""
        return self.sets.of(self.case.axes.group(axis, self.rank.index))

    def hop_ranks(self, lower: int) -> tuple[int, int]:
        """The ranks of this pipeline that hold the stages ``lower`` and ``lower + 1``."""
        line = self.case.axes.group("inter_layer", self.rank.index)
        return line[lower % len(line)], line[(lower + 1) % len(line)]

    def key(self, axis: str, name: str) -> str:
        """The name of a communication of this rank's group, which no other group has."""
        return name + self.case.axes.suffix(axis, self.rank.index)

    @property
    def split(self) -> bool:
        """Whether a rank holds a part of the parameters only."""
        return bool({"intra_layer", "inter_layer"} & set(self.case.axes.names))


def gather_arrays(
    held: Weights, objects: Callable[[Any], list[Any]], flat: Callable[[np.ndarray], np.ndarray]
) -> list[Weights]:
    """Every rank's arrays, of one dtype; ``objects`` and ``flat`` are an engine's all-gathers.

    Names and shapes travel as objects, entries as one tensor: Horovod turns an object into a
    tensor byte by byte, which takes a second for 6 MB.
    """
    described = objects([(name, array.shape) for name, array in held.items()])
    entries = flat(np.concatenate([array.ravel() for array in held.values()]))
    sizes = [prod(shape) for rank in described for _, shape in rank]
    parts = iter(np.split(entries, np.cumsum(sizes)[:-1]))
    return [{name: next(parts).reshape(shape) for name, shape in rank} for rank in described]


def whole_arrays(workload: Workload, mesh: Mesh, parts: list[Weights]) -> Weights:
    """Whole arrays from what every rank holds, of the first replica; of equal copies the first."""
    stages = [
        merge_shards(workload, [parts[rank] for rank in mesh.group("intra_layer", first)])
        for first in mesh.group("inter_layer", 0)
    ]
    merged = {name: array for stage in reversed(stages) for name, array in stage.items()}
    return {name: merged[name] for name in workload.shapes() if name in merged}


def my_shard(workload: Workload, name: str, array: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """This rank's part of a parameter, the whole of it where the plan does not split it."""
    axes = shard_axes(workload)
    return np.split(array, ranks, axes[name])[rank] if name in axes else array


def merge_shards(workload: Workload, parts: list[Weights]) -> Weights:
    """Whole arrays from every rank's part of them."""
    axes = shard_axes(workload)
    return {
        name: np.concatenate([part[name] for part in parts], axes[name]) if name in axes else array
        for name, array in parts[0].items()
    }


class ComputeClock:
    """CPU seconds of this process without the threads that communicate.

    Horovod's threads are those that ``hvd.init`` starts. Linux names a thread's CPU clock
    ``~tid << 3 | 6`` (pthread_getcpuclockid's own formula).
    """

    def __init__(self) -> None:
        self._before = native_threads()
        self._communicating: dict[int, float] = {}

    def initialised(self) -> None:
        """Call right after ``hvd.init``."""
        self._communicating = dict.fromkeys(native_threads() - self._before, 0.0)

    @property
    def communicating(self) -> Collection[int]:
        """Ids of Horovod's threads."""
        return self._communicating.keys()

    def seconds(self) -> float:
        """CPU seconds of the threads that compute, so far."""
        for tid in self._communicating:
            with suppress(OSError):  # ended since; what it had used stays
                self._communicating[tid] = time.clock_gettime(~tid << 3 | 6)
        return time.process_time() - sum(self._communicating.values())


class HorovodLink:
    """What both engines' link sessions share; a hop is a broadcast over ranks 0 and 1."""

    def __init__(self, case: Case, rank: Rank, hvd: Any) -> None:
        self.rank, self.backend = rank, backend(case, hvd)
        self.transport = "cuda" if self.backend == "nccl" else f"tcp:{interface_of_host()}"

    def participants(self, kind: str) -> int:
        """How many devices take part in a call of that collective."""
        return 2 if kind == "broadcast" else self.rank.processes
