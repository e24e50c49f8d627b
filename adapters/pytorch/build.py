"""How the installed torch was built, read from its files without importing it."""

from __future__ import annotations

from suite.contract import packages


def torch_version() -> str:
    """What torch calls itself, such as ``2.13.0+cu130``; empty where it is not installed.

    The distribution of PyPI's wheel is called 2.13.0, without the name of the build.
    """
    return str(packages.constants("torch", "version.py").get("__version__", ""))


def has_cuda() -> bool:
    """Whether it was built with CUDA."""
    return bool(packages.constants("torch", "version.py").get("cuda"))


def gpu_problem(device: str) -> str:
    """Why this torch cannot use ``device`` and what mends it; empty if it can."""
    if device != "cuda" or has_cuda():
        return ""
    return "this torch was built without CUDA: install a CUDA build of torch"
