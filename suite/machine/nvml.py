"""Asks NVIDIA's driver for its GPUs; runs in a process that ``suite.machine.probe`` can end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from suite.machine import libcuda
from suite.machine.probe import answer, known


def main() -> None:
    """Answers with an object for each GPU; with none if there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        # A container may have been given the library that computes without the one that watches.
        answer(libcuda.devices())
        return
    system = {
        "driver": known(lambda: text(pynvml.nvmlSystemGetDriverVersion()), ""),
        "cuda": known(lambda: _release(int(pynvml.nvmlSystemGetCudaDriverVersion())), ""),
    }
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index)
               for index in range(pynvml.nvmlDeviceGetCount())]
    answer([facts(pynvml, index, handle) | system
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
        "pci": told(lambda: pci_address(text(nvml.nvmlDeviceGetPciInfo(handle).busId))) or "",
        "memory_bytes": told(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total)),
        "slices": known(lambda: slices(nvml, handle), list[dict[str, Any]]()),
        "sm_clock_mhz": told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "free_bytes": told(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).free)),
        "power_limit_w": told(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        "reasons": active_reasons(nvml, handle),
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


def slices(nvml: Any, handle: Any) -> list[dict[str, Any]]:
    """Returns name, UUID, multiprocessors and bytes of each MIG slice of a GPU, free ones too."""
    if not nvml.nvmlDeviceGetMigMode(handle)[0]:
        return []
    found = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError):  # not every number has a slice
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            found.append(_slice(nvml, part))
    return found


def _slice(nvml: Any, part: Any) -> dict[str, Any]:
    return {
        "name": text(nvml.nvmlDeviceGetName(part)), "uuid": text(nvml.nvmlDeviceGetUUID(part)),
        "multiprocessors": known(
            lambda: int(nvml.nvmlDeviceGetAttributes(part).multiprocessorCount), None
        ),
        "memory_bytes": known(lambda: int(nvml.nvmlDeviceGetMemoryInfo(part).total), None),
        "free_bytes": known(lambda: int(nvml.nvmlDeviceGetMemoryInfo(part).free), None),
    }


def pci_address(bus: str) -> str:
    """Writes NVML's ``00000000:17:00.0`` as sysfs does: ``0000:17:00.0``."""
    domain, _, rest = bus.strip("\0").lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _release(version: int) -> str:
    """Writes CUDA's 13000 as ``13.0``."""
    return f"{version // 1000}.{version % 1000 // 10}"


def active_reasons(nvml: Any, handle: Any) -> int:
    """Returns the driver's mask of active reasons; 0 if it tells none.

    Drivers before 535 call it otherwise: a newer binding has both names, and one of them fails.
    """
    for name in ("nvmlDeviceGetCurrentClocksEventReasons",
                 "nvmlDeviceGetCurrentClocksThrottleReasons"):
        with suppress(AttributeError, nvml.NVMLError):
            return int(getattr(nvml, name)(handle))
    return 0


def text(value: Any) -> str:
    """Returns text; older versions of the bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
