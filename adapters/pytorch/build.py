"""How the installed torch was built, read from its files without importing it."""

from __future__ import annotations

import re

from suite.contract import packages

# The first that makes a mesh of GPUs from a group of gloo's and leaves it gloo's.
SHARED_GPU_FROM = (2, 11)


def torch_version() -> str:
    """What torch calls itself, such as ``2.13.0+cu130``; empty where it is not installed.

    The distribution of PyPI's wheel is called 2.13.0, without the name of the build.
    """
    return str(packages.constants("torch", "version.py").get("__version__", ""))


def has_cuda() -> bool:
    """Whether it was built with CUDA."""
    return bool(packages.constants("torch", "version.py").get("cuda"))


def release() -> tuple[int, int]:
    """(2, 13) of ``2.13.0+cu130``; (0, 0) where torch is not installed or says no such thing."""
    numbers = re.match(r"(\d+)\.(\d+)", torch_version())
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def gpu_problem(device: str) -> str:
    """Why this torch cannot use ``device`` and what mends it; empty if it can."""
    if device != "cuda" or has_cuda():
        return ""
    return "this torch was built without CUDA: install a CUDA build of torch"


def sharing_problem(oversubscribe: bool) -> str:
    """Why ranks cannot share a GPU with this torch, and what mends it; empty if they can."""
    if not oversubscribe or release() >= SHARED_GPU_FROM:
        return ""
    needed = ".".join(map(str, SHARED_GPU_FROM))
    return (f"ranks share a GPU over gloo from torch {needed} on, and {torch_version()} would take "
            "NCCL without a word: install a newer torch")
