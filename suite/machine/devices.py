"""The cores and GPUs that this process may use."""

from __future__ import annotations

import os
import shutil
import subprocess


def allowed_cores() -> list[int]:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu_names() -> list[str]:
    """GPUs that CUDA_VISIBLE_DEVICES leaves of those that the driver's own tool lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return visible_gpus(lines, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible_gpus(lines: list[str], chosen: str | None) -> list[str]:
    """Names in ``GPU 0: NAME (UUID: GPU-…)``, in the order in which CUDA counts them.

    ``chosen`` lists numbers or beginnings of UUIDs; CUDA ends at the first that it cannot find.
    """
    facts = [line.split(": ", 1)[-1].rstrip(")").split(" (UUID: ") for line in lines]
    if chosen is None:
        return [fact[0] for fact in facts]
    found: list[str] = []
    for part in (text.strip() for text in chosen.split(",")):
        fits = [name for number, (name, *uuid) in enumerate(facts)
                if part == str(number) or (part.startswith("GPU-") and uuid[:1] and
                                           uuid[0].startswith(part))]
        if not fits:
            break
        found.append(fits[0])
    return found


def gpu_count() -> int:
    return len(gpu_names())
