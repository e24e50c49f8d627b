"""Looks into installed packages without importing them."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path
from typing import Any


def folder_of(package: str) -> Path | None:
    """Returns the folder in which a package is installed; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def constants(package: str, file: str) -> dict[str, Any]:
    """Runs one file of a package, such as ``version.py``, and returns the names that it defines.

    It is meant for files that a package's build writes, which hold facts and import nothing.

    Args:
        package: Name of the package.
        file: Path of the file inside the package.

    Returns:
        Name to value; empty if the file does not exist.
    """
    folder = folder_of(package)
    path = folder / file if folder else None
    return runpy.run_path(str(path)) if path and path.exists() else {}
