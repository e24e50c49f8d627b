"""Looks into installed packages without importing them."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any


def folder_of(package: str) -> Path | None:
    """Where a package is installed; None where it is not."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def constants(package: str, file: str) -> dict[str, Any]:
    """Names that a file of a package defines, such as ``version.py``; empty without the file.

    Only for files that a build writes: they hold facts, and running them needs nothing else.
    """
    folder = folder_of(package)
    path = folder / file if folder else None
    return runpy.run_path(str(path)) if path and path.exists() else {}
