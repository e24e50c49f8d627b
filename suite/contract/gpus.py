"""A rank's own GPU, and the peaks that vendors print beside what is measured."""

from __future__ import annotations

import os


def only(*indices: int) -> dict[str, str]:
    """The variable that leaves a process these GPUs, of those that this process may use."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = [name.strip() for name in seen.split(",")] if seen else []
    chosen = [every[index] if every else str(index) for index in indices]
    return {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}
