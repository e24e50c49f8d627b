"""Asks NVIDIA's driver for its GPUs; runs in a process that ``suite.machine.probe`` can end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from suite.machine.probe import answer, known


def main() -> None:
    """Answers with an object for each GPU; with none if there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        answer([])
        return
    driver = known(lambda: text(pynvml.nvmlSystemGetDriverVersion()), "")
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index)
               for index in range(pynvml.nvmlDeviceGetCount())]
    answer([facts(pynvml, index, handle) | {"driver": driver}
            for index, handle in enumerate(handles)])


def facts(nvml: Any, index: int, handle: Any) -> dict[str, Any]:
    """Returns what the driver tells about one GPU; a figure that it does not tell is None.

    Clocks are in MHz and power in watts. ``slowed_ns`` says, for each reason, how many nanoseconds
    it has lowered the clocks since the driver was loaded.

    Args:
        nvml: The module ``pynvml``.
        index: The number of the GPU.
        handle: The driver's handle of the GPU.
    """
    def told(look: Callable[[], Any]) -> Any:
        return known(look, None)

    return {
        "index": index,
        "name": text(nvml.nvmlDeviceGetName(handle)),
        "uuid": told(lambda: text(nvml.nvmlDeviceGetUUID(handle))) or "",
        "slices": known(lambda: slices(nvml, handle), list[dict[str, str]]()),
        "sm_clock_mhz": told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "free_bytes": told(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).free)),
        "power_limit_w": told(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        "reasons": told(lambda: int(_reasons(nvml)(handle))) or 0,
        "slowed_ns": slowed_ns(nvml, handle),
    }


def slowed_ns(nvml: Any, handle: Any) -> dict[str, int]:
    """Returns for how many nanoseconds each reason has lowered the clocks, as far as the driver
    counts.
    """
    policies = {
        "power": nvml.NVML_PERF_POLICY_POWER, "thermal": nvml.NVML_PERF_POLICY_THERMAL,
        "board": nvml.NVML_PERF_POLICY_BOARD_LIMIT,
    }
    counted = {}
    for reason, policy in policies.items():
        with suppress(nvml.NVMLError):
            counted[reason] = int(nvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime)
    return counted


def slices(nvml: Any, handle: Any) -> list[dict[str, str]]:
    """Returns name and UUID of each MIG slice of a GPU."""
    if not nvml.nvmlDeviceGetMigMode(handle)[0]:
        return []
    named = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError):  # not every number has a slice
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            named.append({"name": text(nvml.nvmlDeviceGetName(part)),
                          "uuid": text(nvml.nvmlDeviceGetUUID(part))})
    return named


def _reasons(nvml: Any) -> Callable[[Any], int]:
    """Returns the function that tells the active reasons.

    Drivers before 535 use another name for it.
    """
    newer = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    reasons: Callable[[Any], int] = newer or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    return reasons


def text(value: Any) -> str:
    """Returns text; older versions of the bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
