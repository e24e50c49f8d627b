"""The GPUs of this machine: which a process may use, how they run, and what slowed them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.machine.probe import Unknown, ask

ASK_SECONDS = 10.0
# Files that the driver makes; without one of them there is nobody to ask (the last is WSL's).
DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/nvidia0"), Path("/dev/dxg"))
# NVML's clock event reasons that slow a GPU down, by bit. Idle clocks and clocks that somebody
# asked for do not count, nor does the power limit (0x4), at which a busy GPU normally runs.
THROTTLES = {
    0x8: "hardware slowdown", 0x20: "software thermal", 0x40: "hardware thermal",
    0x80: "power brake",
}
POWER_LIMIT = 0x4
SLOWED_SHARE = 0.01  # of a block's time


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice of a GPU, as the driver describes it.

    ``cuda`` is the newest CUDA that the driver runs, such as ``13.0``, ``pci`` the address under
    which sysfs has the GPU. ``multiprocessors`` is known of slices, and without NVML.
    ``slowed_ns`` is reason -> nanoseconds since the driver was loaded; empty where it does not
    count.
    """

    index: int
    name: str
    uuid: str = ""
    driver: str = ""
    sm_clock_mhz: int | None = None
    power_limit_w: float | None = None
    reasons: int = 0
    slowed_ns: Mapping[str, int] = field(default_factory=dict)
    slices: Sequence[Mapping[str, Any]] = ()
    memory_bytes: int | None = None
    multiprocessors: int | None = None
    cuda: str = ""
    pci: str = ""

    @property
    def throttle(self) -> str:
        """Why its clocks are lowered now, in words; empty where nothing lowers them."""
        return words(self.reasons)

    def state(self) -> dict[str, Any]:
        """For ``run.json``: what it runs at."""
        return {
            "index": str(self.index), "name": self.name, "driver": self.driver,
            "sm_clock_mhz": "" if self.sm_clock_mhz is None else str(self.sm_clock_mhz),
            "power_limit_w": self.power_limit_w, "throttle": self.throttle,
            "at_power_limit": bool(self.reasons & POWER_LIMIT),
        }


def words(reasons: int) -> str:
    """The reasons of a mask that slow a GPU down; empty for none."""
    return ", ".join(said for bit, said in THROTTLES.items() if reasons & bit)


def under_load(watched: Mapping[str, Any]) -> dict[str, Any]:
    """What a GPU ran at while it was busy, for ``run.json``; empty where it never was.

    Args:
        watched: A summary of ``suite.machine.gpu_watch``.
    """
    if not watched.get("looks"):
        return {}
    shares = {int(bit): share for bit, share in watched["reason_shares"].items()}
    often = sum(bit for bit, share in shares.items() if share > SLOWED_SHARE)
    measured = {name: watched[name] for name in
                ("sm_clock_mhz", "sm_clock_min_mhz", "power_w", "celsius")}
    return {
        "under_load": measured | {"at_power_limit_share": shares.get(POWER_LIMIT, 0.0)},
        "throttle": words(often),
    }


def driver_present() -> bool:
    """Whether a driver may answer; asking one that is not there would cost a process."""
    return any(path.exists() for path in DRIVER_FILES)


def ask_driver() -> tuple[list[Gpu], str]:
    """Every GPU of the machine, and why there are none where the driver did not answer."""
    if not driver_present():
        return [], ""
    try:
        return [Gpu(**facts) for facts in ask("suite.machine.nvml", seconds=ASK_SECONDS)], ""
    except (Unknown, TypeError) as error:
        return [], f"unknown: {error}"


def usable_gpus() -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process, as CUDA counts them."""
    return visible(ask_driver()[0], os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: Sequence[Gpu], chosen: str | None) -> list[Gpu]:
    """Of all GPUs those that ``chosen`` names, in its order.

    ``chosen`` lists numbers or beginnings of UUIDs (``GPU-…``, ``MIG-…``); CUDA ends at the first
    entry that it cannot find. Unset, CUDA takes every GPU, but where one is cut into MIG slices a
    process gets the first slice alone (NVIDIA's MIG user guide, "CUDA device enumeration").
    """
    parts = [_slice(gpu, part) for gpu in gpus for part in gpu.slices]
    if chosen is None:
        return parts[:1] or list(gpus)
    found: list[Gpu] = []
    for entry in (text.strip() for text in chosen.split(",")):
        fitting = [gpu for gpu in (*gpus, *parts) if _named(gpu, entry)]
        if not fitting:
            break
        found.append(fitting[0])
    return found


def _slice(gpu: Gpu, part: Mapping[str, Any]) -> Gpu:
    return replace(
        gpu, name=part["name"], uuid=part["uuid"], slices=(),
        multiprocessors=part.get("multiprocessors"), memory_bytes=part.get("memory_bytes"),
    )


def _named(gpu: Gpu, entry: str) -> bool:
    if entry.startswith(("GPU-", "MIG-")):
        return gpu.uuid.startswith(entry)
    return entry == str(gpu.index)


def slowed(before: Sequence[Gpu], after: Sequence[Gpu], seconds: float) -> dict[int, str]:
    """GPU index -> why its clocks were lowered for more than ``SLOWED_SHARE`` of the time between.

    What is active at the end of a block is the state of a GPU that is idle again, so the driver's
    counters are compared; GPUs of drivers that do not count are left out.
    """
    least = SLOWED_SHARE * seconds * 1e9
    earlier = {gpu.index: gpu.slowed_ns for gpu in before}
    return {
        gpu.index: ", ".join(
            reason for reason, count in gpu.slowed_ns.items()
            if reason != "power" and count - earlier.get(gpu.index, {}).get(reason, count) > least
        )
        for gpu in after if gpu.slowed_ns
    }
