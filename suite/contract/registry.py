"""The adapters that are here, by the name of their framework."""

from __future__ import annotations

import importlib

from suite.contract.adapter import Manifest
from suite.contract.plugins import adapter_package


def manifest(framework: str) -> Manifest:
    """The adapter's manifest; loads no framework."""
    return importlib.import_module(adapter_package(framework))
