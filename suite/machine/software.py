"""What is installed here, told without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def installed_version(distributions: tuple[str, ...] | list[str]) -> str:
    """Version of the first distribution that is installed, or empty."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def interpreters(frameworks: Iterable[str]) -> dict[str, str]:
    """Framework -> interpreter, where it has an environment of its own beside this one.

    That of ``.venv`` is ``.venv-tensorflow``: CUDA libraries of two frameworks may exclude each
    other.
    """
    mine = Path(sys.prefix)
    found = {name: mine.with_name(f"{mine.name}-{name}") / "bin/python" for name in frameworks}
    return {name: str(path) for name, path in found.items() if path.exists()}
