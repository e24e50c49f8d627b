"""Loads an adapter's manifest, for code that asks it about cases."""

from __future__ import annotations

from typing import cast

from suite.contract.adapter import Manifest
from suite.contract.errors import UsageError
from suite.contract.registry import load


def manifest(framework: str) -> Manifest:
    """Returns the adapter's module, without loading its framework.

    Raises:
        UsageError: The adapter cannot be loaded.
    """
    adapter = load(framework)
    if adapter.module is None:
        fix = "mend the package that brings it, or leave it out of --framework"
        raise UsageError(f"adapter of {framework}", adapter.problem, "a manifest with TRAITS", fix)
    return cast(Manifest, adapter.module)
