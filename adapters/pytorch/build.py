"""Finds out how the installed torch was built, by reading its files without importing it."""

from __future__ import annotations

import re

from suite.contract import packages

# The first release in which a mesh of GPUs that is made from a gloo group keeps using gloo.
SHARED_GPU_FROM = (2, 11)


def torch_version() -> str:
    """Returns torch's own version, such as ``2.13.0+cu130``; empty if it is not installed.

    The distribution does not tell: PyPI's wheel is called 2.13.0, without the name of the build.
    """
    return str(packages.constants("torch", "version.py").get("__version__", ""))


def has_cuda() -> bool:
    """Returns whether the installed torch was built with CUDA."""
    return bool(packages.constants("torch", "version.py").get("cuda"))


def release() -> tuple[int, int]:
    """Returns (2, 13) for ``2.13.0+cu130``; (0, 0) if torch is missing or says something else."""
    numbers = re.match(r"(\d+)\.(\d+)", torch_version())
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def gpu_problem(device: str) -> str:
    """Returns why this torch cannot use ``device``, and the fix; empty if it can."""
    if device != "cuda" or has_cuda():
        return ""
    return "this torch was built without CUDA: install a CUDA build of torch"


def sharing_problem(oversubscribe: bool) -> str:
    """Returns why ranks cannot share a GPU with this torch, and the fix; empty if they can.

    Args:
        oversubscribe: Whether the case shares GPUs at all.
    """
    if not oversubscribe or release() >= SHARED_GPU_FROM:
        return ""
    needed = ".".join(map(str, SHARED_GPU_FROM))
    return (f"ranks can share a GPU over gloo from torch {needed} on, but {torch_version()} would "
            "use NCCL without saying so: install a newer torch")
