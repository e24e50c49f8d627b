"""A workload with units enough for two stages on each of four devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.spec.workloads import find_workload

_TINY: Any = find_workload("gpt", "tiny")
DEEP = replace(_TINY, size="deep", blocks=8)
