"""Describes the machine and its software for ``run.json``."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from suite.contract.registry import adapters
from suite.machine.devices import allowed_cores
from suite.machine.gpu_peaks import datasheet_flops
from suite.machine.gpus import usable_gpus
from suite.machine.limits import cpu_quota
from suite.machine.probe import known
from suite.machine.software import installed_version


def describe() -> dict[str, Any]:
    """Returns the facts that ``run.json`` keeps of the machine; memory is in bytes."""
    import psutil

    gpus = usable_gpus()
    recorded = [name for adapter in adapters().values() for name in adapter.traits.recorded]
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "processor": _processor(),
        "cores": len(allowed_cores()),
        "cpu_quota": cpu_quota(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": len(gpus),
        "gpu_models": [
            {"name": gpu.name, "datasheet_flops_s": datasheet_flops(gpu.name, gpu.multiprocessors),
             "driver": gpu.driver, "cuda": gpu.cuda, "power_limit_w": gpu.power_limit_w,
             "memory_bytes": gpu.memory_bytes}
            for gpu in gpus
        ],
        "load_average": known(lambda: list(os.getloadavg()), list[float]()),
        "versions": {
            name: installed_version((name,))
            for name in (*recorded, "numpy")
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in stream if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
