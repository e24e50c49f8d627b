"""What this machine is, and what is installed on it, without importing a framework."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from suite.spec.gpus import datasheet_flops


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


def installed(distributions: tuple[str, ...] | list[str]) -> str:
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


def describe() -> dict[str, Any]:
    """Facts for ``run.json``; memory in bytes."""
    import psutil

    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": len(allowed_cores()),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpu_count(),
        "gpu_models": [
            {"name": name, "datasheet_flops_s": datasheet_flops(name)}
            for name in gpu_names()
        ],
        "load_average": list(os.getloadavg()),
        "versions": {
            name: installed((name,))
            for name in ("torch", "tensorflow", "tensorflow-cpu", "keras", "horovod", "numpy")
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as stream:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in stream if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
