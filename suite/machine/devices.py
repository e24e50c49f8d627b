"""The cores and GPUs that this process may use."""

from __future__ import annotations

import os

from suite.machine.gpus import usable_gpus


def allowed_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu_names() -> list[str]:
    """Names of the GPUs that CUDA_VISIBLE_DEVICES leaves, in the order in which CUDA counts."""
    return [gpu.name for gpu in usable_gpus()]


def gpu_count() -> int:
    """How many GPUs this process may use."""
    return len(usable_gpus())
