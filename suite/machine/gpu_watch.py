"""Watches GPUs while a block runs: ``python -m suite.machine.gpu_watch``, until its input closes.

What a GPU runs at can be seen only while it works: at a block's end it is idle again, its clocks
are low and no reason is active. The process sleeps between looks and takes no core.
"""

from __future__ import annotations

import select
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

from suite.machine.nvml import active_reasons
from suite.machine.probe import answer, known

LOOK_SECONDS = 0.25
# Share of the last period in which a kernel ran; below it a GPU counts as idle.
BUSY_PERCENT = 50


def main() -> None:
    """Answers with one summary a GPU, in the driver's order; with none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        answer([])
        return
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index)
               for index in range(pynvml.nvmlDeviceGetCount())]
    looks: list[list[dict[str, Any]]] = [[] for _ in handles]
    while not _input_closed():
        for handle, mine in zip(handles, looks, strict=True):
            mine.append(look(pynvml, handle))
    answer([summary(mine) for mine in looks])


def _input_closed() -> bool:
    return bool(select.select([sys.stdin], [], [], LOOK_SECONDS)[0])


def look(nvml: Any, handle: Any) -> dict[str, Any]:
    """Looks at a GPU: clock in MHz, watts, degrees Celsius, busy percent, the mask of reasons.

    What the driver does not tell is None; of a GPU that is cut into slices it does not tell how
    busy it is.
    """
    def told(ask: Callable[[], Any]) -> Any:
        return known(ask, None)

    return {
        "sm_clock_mhz": told(lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))),
        "power_w": told(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        "celsius": told(
            lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        ),
        "busy_percent": told(lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        "reasons": active_reasons(nvml, handle),
    }


def summary(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarises what a GPU ran at while it was busy.

    Args:
        looks: What :func:`look` returned, one look after another.

    Returns:
        ``looks``, how many of them met a busy GPU; medians and extremes of those; and
        ``reason_shares``, bit of NVML's mask -> share of them in which it was set.
    """
    busy = [one for one in looks if (one["busy_percent"] or 0) >= BUSY_PERCENT]
    found: dict[str, Any] = {"looks": len(busy)}
    for name, reduce in (
        ("sm_clock_mhz", statistics.median), ("power_w", statistics.median), ("celsius", max),
    ):
        values = [one[name] for one in busy if one[name] is not None]
        found[name] = reduce(values) if values else None
    clocks = [one["sm_clock_mhz"] for one in busy if one["sm_clock_mhz"] is not None]
    found["sm_clock_min_mhz"] = min(clocks, default=None)
    bits = {1 << bit for one in busy for bit in range(16) if one["reasons"] >> bit & 1}
    found["reason_shares"] = {
        str(bit): sum(bool(one["reasons"] & bit) for one in busy) / len(busy)
        for bit in sorted(bits)
    }
    return found


if __name__ == "__main__":
    main()
