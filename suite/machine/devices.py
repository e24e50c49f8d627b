"""Which cores and GPUs this process may use."""

from __future__ import annotations

import os

from suite.machine.gpus import usable_gpus


def allowed_cores() -> list[int]:
    """Returns the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu_names() -> list[str]:
    """Returns the names of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in CUDA's order."""
    return [gpu.name for gpu in usable_gpus()]


def gpu_count() -> int:
    """Returns how many GPUs this process may use."""
    return len(usable_gpus())
