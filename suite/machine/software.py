"""Says what is installed here without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def installed_version(distributions: tuple[str, ...] | list[str]) -> str:
    """Returns the version of the first of these distributions that is installed, or ""."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def interpreters(frameworks: Iterable[str]) -> dict[str, str]:
    """Returns the interpreters of the frameworks that have an environment beside this one.

    Beside ``.venv``, the environment of TensorFlow is ``.venv-tensorflow``; frameworks may need
    CUDA libraries that exclude each other.

    Args:
        frameworks: The names of the frameworks.

    Returns:
        The path of the interpreter by framework.
    """
    mine = Path(sys.prefix)
    candidates = {name: mine.with_name(f"{mine.name}-{name}") / "bin/python" for name in frameworks}
    return {name: str(path) for name, path in candidates.items() if path.exists()}
