"""Finds what other packages add to the suite: by entry points, or by the name of an object."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from suite.contract.errors import UsageError

ADAPTERS = "suite.adapters"
# Tells a worker, which starts elsewhere, in which folder the user is.
WORKING_FOLDER = "SUITE_WORKING_FOLDER"


@cache
def named(group: str) -> Mapping[str, str]:
    """Returns the entry points of a group in all installed packages.

    Args:
        group: Name of the group, such as ``suite.adapters``.

    Returns:
        Name of the entry point to ``module:object`` or ``module``.
    """
    return {entry.name: entry.value for entry in metadata.entry_points(group=group)}


def load_named(group: str, name: str, what: str) -> Any:
    """Imports the object of an entry point, or of ``package.module:object``.

    Args:
        group: Group of the entry points.
        name: Name of an entry point, or ``package.module:object``; modules in the working
            directory can be imported too.
        what: What the object is, for the error's text.

    Raises:
        UsageError: The object cannot be imported.
    """
    where = named(group).get(name, name)
    module, _, attribute = where.partition(":")
    # A script that Python starts can import from the working directory, so users expect it here.
    folder = os.environ.get(WORKING_FOLDER) or str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        got = f"{where}: {type(error).__name__}: {error}"
        expected = "package.module:object that can be imported from here"
        raise UsageError(what, got, expected, "set PYTHONPATH or correct the name") from error


def adapter_package(framework: str) -> str:
    """Returns the package of an adapter: the suite's own, otherwise that of an entry point."""
    own = f"adapters.{framework}"
    return own if find_spec(own) else named(ADAPTERS).get(framework, own)
