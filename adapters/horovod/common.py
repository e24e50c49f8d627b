"""What both engines share: the ledger, neighbours' process sets, who computes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from adapters.horovod.interfaces import interface_of_host
from suite.spec.case import Case, Rank
from suite.spec.strategies import shard_axes, tied_weights
from suite.spec.workloads import Weights, Workload

EMULATED = "hops are broadcasts over 2-rank process sets: Horovod has no send/recv"


def ledger(case: Case) -> dict[str, str]:
    """What Horovod adds to a row's fairness ledger."""
    found = {
        "horovod": metadata.version("horovod"),
        "backend": "gloo",
        "cycle_time_ms": os.environ["HOROVOD_CYCLE_TIME"],
        "fusion_threshold_bytes": os.environ["HOROVOD_FUSION_THRESHOLD"],
        "autotune": os.environ["HOROVOD_AUTOTUNE"],
    }
    if case.dtype == "bf16":
        found["activation_communication"] = "float32: Horovod has no bfloat16"
    return found | ({"emulated": EMULATED} if case.strategy == "inter_layer" else {})


def neighbour_sets(hvd: Any, processes: int) -> list[Any]:
    """Process set of ranks ``i`` and ``i + 1`` at ``i``; call before ``hvd.init``.

    The set of all ranks exists already, and Horovod refuses a second one.
    """
    if processes == 2:
        return [hvd.global_process_set]
    return [hvd.ProcessSet([rank, rank + 1]) for rank in range(processes - 1)]


def end_set(hvd: Any, workload: Workload, processes: int) -> Any:
    """Process set of the first and last rank, or None if no parameter is tied between them."""
    if not tied_weights(workload, processes):
        return None
    return hvd.global_process_set if processes == 2 else hvd.ProcessSet([0, processes - 1])


def new_sets(hvd: Any, sets: list[Any]) -> list[Any]:
    """Those that ``hvd.init`` must be told of."""
    return [group for group in sets if group and group is not hvd.global_process_set]


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


def merge_stages(parts: list[Weights]) -> Weights:
    """Every stage's arrays; of a tied parameter's equal copies the first stage's."""
    return {name: array for part in reversed(parts) for name, array in part.items()}


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
        self._before = set(_threads())
        self._communicating: dict[int, float] = {}

    def initialised(self) -> None:
        """Call right after ``hvd.init``."""
        self._communicating = {tid: 0.0 for tid in _threads() if tid not in self._before}

    def seconds(self) -> float:
        for tid in self._communicating:
            with suppress(OSError):  # ended since; what it had used stays
                self._communicating[tid] = time.clock_gettime(~tid << 3 | 6)
        return time.process_time() - sum(self._communicating.values())


def _threads() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/task").iterdir()]


class HorovodLink:
    """What both engines' link sessions share; a hop is a broadcast over ranks 0 and 1."""

    backend = "gloo"

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.transport = f"tcp:{interface_of_host()}"

    def participants(self, kind: str) -> int:
        return 2 if kind == "broadcast" else self.rank.processes
