"""Finds out how the installed TensorFlow was built, by reading its files without importing it."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

from suite.contract import packages

DISTRIBUTIONS = ("tensorflow-cpu", "tensorflow")


def tensorflow_version() -> str:
    """Returns the version of the installed distribution; empty if none is installed."""
    for name in DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def has_cuda() -> bool:
    """Returns whether the installed TensorFlow was built with CUDA."""
    facts = packages.constants("tensorflow", "python/platform/build_info.py")
    return bool(facts.get("build_info", {}).get("is_cuda_build"))


def gpu_problem(device: str) -> str:
    """Returns why this TensorFlow cannot use ``device``, and the fix; empty if it can."""
    if device != "cuda" or has_cuda():
        return ""
    return ("this tensorflow was built without CUDA: `make tensorflow-gpu` gives one an "
            "environment of its own")
