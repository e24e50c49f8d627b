"""Asks NVIDIA's driver for its GPUs, in a process that may be ended: ``suite.machine.probe``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from suite.machine.probe import answer, known


def main() -> None:
    """Answers with one object a GPU; with none where there is no driver."""
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
    """What the driver tells of one GPU; a figure that it does not tell is None.

    Clocks in MHz, power in watts, ``slowed_ns`` the time since the driver was loaded for which a
    reason lowered the clocks.
    """
    def told(look: Callable[[], Any]) -> Any:
        return known(look, None)

    return {
        "index": index,
        "name": text(nvml.nvmlDeviceGetName(handle)),
        "uuid": told(lambda: text(nvml.nvmlDeviceGetUUID(handle))) or "",
        "slices": known(lambda: slices(nvml, handle), list[dict[str, str]]()),
        "sm_clock_mhz": told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "power_limit_w": told(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        "reasons": told(lambda: int(_reasons(nvml)(handle))) or 0,
        "slowed_ns": slowed_ns(nvml, handle),
    }


def slowed_ns(nvml: Any, handle: Any) -> dict[str, int]:
    """Reason -> nanoseconds; without reasons that the driver does not count."""
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
    """Name and UUID of each MIG slice of a GPU."""
    if not nvml.nvmlDeviceGetMigMode(handle)[0]:
        return []
    found = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError):  # numbers without a slice
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found.append({"name": text(nvml.nvmlDeviceGetName(part)),
                          "uuid": text(nvml.nvmlDeviceGetUUID(part))})
    return found


def _reasons(nvml: Any) -> Callable[[Any], int]:
    """The driver's mask of active reasons; releases before 535 call it otherwise."""
    newer = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    found: Callable[[Any], int] = newer or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    return found


def text(value: Any) -> str:
    """Older bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
