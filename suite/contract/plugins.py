"""What other packages add: by entry points, or by naming an object."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from suite.contract.errors import UsageError

ADAPTERS = "suite.adapters"


@cache
def named(group: str) -> Mapping[str, str]:
    """Name -> ``module:object`` or ``module`` of installed packages' entry points."""
    return {entry.name: entry.value for entry in metadata.entry_points(group=group)}


def load_named(group: str, name: str, what: str) -> Any:
    """The object of an entry point, or of ``package.module:object`` seen from here.

    Raises :class:`UsageError` where it cannot be imported.
    """
    where = named(group).get(name, name)
    module, _, attribute = where.partition(":")
    # As for any script that Python starts: what lies in the working directory can be imported.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        got = f"{where}: {type(error).__name__}: {error}"
        expected = "package.module:object that can be imported from here"
        raise UsageError(what, got, expected, "set PYTHONPATH or correct the name") from error


def adapter_package(framework: str) -> str:
    """Package of an adapter: the suite's own, else the entry point of that name."""
    own = f"adapters.{framework}"
    return own if find_spec(own) else named(ADAPTERS).get(framework, own)
