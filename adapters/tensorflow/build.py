"""How the installed TensorFlow was built, read from its files without importing it."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

from suite.contract import packages

DISTRIBUTIONS = ("tensorflow-cpu", "tensorflow")


def tensorflow_version() -> str:
    """Version of the installed distribution; empty where none is."""
    for name in DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def has_cuda() -> bool:
    """Whether it was built with CUDA."""
    facts = packages.constants("tensorflow", "python/platform/build_info.py")
    return bool(facts.get("build_info", {}).get("is_cuda_build"))


def gpu_problem(device: str) -> str:
    """Why this TensorFlow cannot use ``device`` and what mends it; empty if it can."""
    if device != "cuda" or has_cuda():
        return ""
    return ("this tensorflow was built without CUDA: `make tensorflow-gpu` gives one an "
            "environment of its own")
