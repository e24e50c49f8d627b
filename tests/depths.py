"""Transformers of other depths than the suite's own.

``DEEP`` has units for two stages on each of four devices, ``SHALLOW`` for two stages: a graph of
half the size, which TensorFlow traces and torch.compile translates in half the time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.spec.workloads import find_workload

_TINY: Any = find_workload("gpt", "tiny")
DEEP = replace(_TINY, size="deep", blocks=8)
SHALLOW = replace(_TINY, size="shallow", blocks=2)
