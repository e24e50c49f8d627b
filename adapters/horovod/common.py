"""What both engines share: the ledger, neighbours' process sets, who computes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from suite.spec.strategies import shard_axes
from suite.spec.workloads import MlpSpec, Weights, Workload

EMULATED = "hops are broadcasts over 2-rank process sets: Horovod has no send/recv"


def ledger(inter_layer: bool) -> dict[str, str]:
    """What Horovod adds to a row's fairness ledger."""
    found = {
        "horovod": metadata.version("horovod"),
        "backend": "gloo",
        "cycle_time_ms": os.environ["HOROVOD_CYCLE_TIME"],
        "fusion_threshold_bytes": os.environ["HOROVOD_FUSION_THRESHOLD"],
        "autotune": os.environ["HOROVOD_AUTOTUNE"],
    }
    return found | ({"emulated": EMULATED} if inter_layer else {})


def neighbour_sets(hvd: Any, processes: int) -> list[Any]:
    """Process set of ranks ``i`` and ``i + 1`` at ``i``; call before ``hvd.init``.

    The set of all ranks exists already, and Horovod refuses a second one.
    """
    if processes == 2:
        return [hvd.global_process_set]
    return [hvd.ProcessSet([rank, rank + 1]) for rank in range(processes - 1)]


def new_sets(hvd: Any, sets: list[Any]) -> list[Any]:
    """Those that ``hvd.init`` must be told of."""
    return [group for group in sets if group is not hvd.global_process_set]


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


def boundary_width(workload: Workload, unit: int) -> int:
    """Features per sample (and token) that enter a unit."""
    return workload.widths[unit] if isinstance(workload, MlpSpec) else workload.width


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
