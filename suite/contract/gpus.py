"""Which GPUs a process can see."""

from __future__ import annotations

import os


def only(*indices: int) -> dict[str, str]:
    """Returns the variable that lets a process see these GPUs alone.

    Args:
        indices: Numbers of the GPUs, counted among those that this process can see.

    Returns:
        ``CUDA_VISIBLE_DEVICES`` and its value.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else []
    chosen = [names[index] if names else str(index) for index in indices]
    return {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}
