"""What this machine is, and what is installed on it, without importing a framework."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from typing import Any


def allowed_cores() -> list[int]:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu_count() -> int:
    """GPUs that the driver's own tool lists; 0 without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def installed(distributions: tuple[str, ...] | list[str]) -> str:
    """Version of the first distribution that is installed, or empty."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


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
