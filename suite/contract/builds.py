"""How the installed engines were built, read from modules that their builds write.

Nothing else of a package is imported; these modules hold facts and need nothing of it.
"""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any

FIXES = {
    "torch": "install a CUDA build of torch",
    "tensorflow": "`make tensorflow-gpu` gives one an environment of its own",
}


def folder_of(package: str) -> Path | None:
    """Where a package is installed; None where it is not."""
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) if places else None


def torch_version() -> str:
    """What torch calls itself, such as ``2.13.0+cu130``; empty where it is not installed.

    The distribution of a wheel from PyPI is 2.13.0, without the build.
    """
    return str(_facts("torch", "version.py").get("__version__", ""))


def gpu_problem(engine: str, device: str) -> str:
    """Why ``engine`` as it was built cannot use ``device``, and what mends it, or empty."""
    if device != "cuda" or _has_cuda(engine):
        return ""
    return f"this {engine} was built without CUDA: {FIXES[engine]}"


def _has_cuda(engine: str) -> bool:
    if engine == "torch":
        return bool(_facts("torch", "version.py").get("cuda"))
    found = _facts("tensorflow", "python/platform/build_info.py").get("build_info", {})
    return bool(found.get("is_cuda_build"))


def _facts(package: str, file: str) -> dict[str, Any]:
    folder = folder_of(package)
    path = folder / file if folder else None
    return runpy.run_path(str(path)) if path and path.exists() else {}
