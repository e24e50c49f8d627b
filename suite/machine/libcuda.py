"""Asks the CUDA driver itself for its GPUs, where NVML is not there.

A container that was started with ``NVIDIA_DRIVER_CAPABILITIES=compute`` has ``libcuda.so.1`` and
neither NVML nor nvidia-smi. Called in a process of its own only: ``suite.machine.nvml``.
"""

from __future__ import annotations

import ctypes
import os
import uuid
from typing import Any

LIBRARY = "libcuda.so.1"
# CUdevice_attribute of cuda.h.
MULTIPROCESSORS, PCI_BUS, PCI_DEVICE, PCI_DOMAIN = 16, 33, 34, 50


def devices() -> list[dict[str, Any]]:
    """Returns what the driver tells of each GPU, by the keys of ``Gpu``; empty without a driver."""
    # With the variable CUDA would list only the chosen GPUs; the caller chooses among all of them.
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's, and that of the workers
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError:
        return []
    count, version = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    cuda.cuDriverGetVersion(ctypes.byref(version))
    release = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return [_facts(cuda, index) | {"cuda": release} for index in range(count.value)]


def _facts(cuda: Any, index: int) -> dict[str, Any]:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name, identity = ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceGetUuid(ctypes.byref(identity), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(number: int) -> int:
        found = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(found), number, device)
        return found.value

    place = (attribute(PCI_DOMAIN), attribute(PCI_BUS), attribute(PCI_DEVICE))
    return {
        "index": index, "name": name.value.decode(),
        "uuid": f"GPU-{uuid.UUID(bytes=bytes(identity))}",
        "memory_bytes": memory.value, "multiprocessors": attribute(MULTIPROCESSORS),
        "pci": "{:04x}:{:02x}:{:02x}.0".format(*place),
    }
