"""The GPUs of this machine: which of them a process may use, how they run, what slowed them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.machine.probe import Unknown, ask

ASK_SECONDS = 10.0
# Files that the driver creates; without any of them there is no driver to ask. The last is WSL's.
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

    ``cuda`` is the newest CUDA that the driver runs, such as ``13.0``. ``pci`` is the address under
    which sysfs knows the GPU. ``multiprocessors`` is known of slices, and of GPUs without NVML.
    ``slowed_ns`` holds, for each reason, how many nanoseconds it has lowered the clocks since the
    driver was loaded. It is empty if the driver does not count them.
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
    free_bytes: int | None = None

    @property
    def throttle(self) -> str:
        """Why the clocks are lowered at this moment, in words; empty if they are not."""
        return words(self.reasons)

    def state(self) -> dict[str, Any]:
        """Returns the clocks, the power limit and the throttling that ``run.json`` keeps."""
        return {
            "index": str(self.index), "name": self.name, "driver": self.driver,
            "sm_clock_mhz": "" if self.sm_clock_mhz is None else str(self.sm_clock_mhz),
            "power_limit_w": self.power_limit_w, "throttle": self.throttle,
            "at_power_limit": bool(self.reasons & POWER_LIMIT),
        }


def words(reasons: int) -> str:
    """Names the reasons of a mask that slow a GPU down; empty for none."""
    return ", ".join(said for bit, said in THROTTLES.items() if reasons & bit)


def under_load(watched: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a GPU ran at while it was busy, for ``run.json``; empty if it never was.

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
    """Returns whether there is a driver to ask; asking costs a process, so this looks first."""
    return any(path.exists() for path in DRIVER_FILES)


def ask_driver() -> tuple[list[Gpu], str]:
    """Asks the driver for every GPU of the machine.

    Returns:
        The GPUs, and why there are none if the driver did not answer.
    """
    if not driver_present():
        return [], ""
    try:
        return [Gpu(**facts) for facts in ask("suite.machine.nvml", seconds=ASK_SECONDS)], ""
    except (Unknown, TypeError) as error:
        return [], f"unknown: {error}"


def usable_gpus() -> list[Gpu]:
    """Returns the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves to this process, in CUDA's order."""
    return visible(ask_driver()[0], os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: Sequence[Gpu], chosen: str | None) -> list[Gpu]:
    """Returns those of all GPUs that a value of ``CUDA_VISIBLE_DEVICES`` names, in its order.

    CUDA stops at the first entry that it cannot resolve. A GPU that is cut into MIG slices stands
    for its first slice. A process is shown one slice at most, and no whole GPU beside it (NVIDIA's
    MIG user guide, "CUDA device enumeration").

    Args:
        gpus: All GPUs of the machine.
        chosen: Numbers, or beginnings of UUIDs (``GPU-…``, ``MIG-…``); None if the variable is not
            set.
    """
    parts = [_slice(gpu, part) for gpu in gpus for part in gpu.slices]
    if chosen is None:
        return parts[:1] or list(gpus)
    usable: list[Gpu] = []
    for entry in (text.strip() for text in chosen.split(",")):
        fitting = [gpu for gpu in (*gpus, *parts) if _named(gpu, entry)]
        if not fitting:
            break
        first = fitting[0]
        usable.append(_slice(first, first.slices[0]) if first.slices else first)
    cut = [gpu for gpu in usable if gpu in parts]
    return cut[:1] or usable


def _slice(gpu: Gpu, part: Mapping[str, Any]) -> Gpu:
    return replace(
        gpu, name=part["name"], uuid=part["uuid"], slices=(),
        multiprocessors=part.get("multiprocessors"), memory_bytes=part.get("memory_bytes"),
        free_bytes=part.get("free_bytes"),
    )


def _named(gpu: Gpu, entry: str) -> bool:
    if entry.startswith(("GPU-", "MIG-")):
        return gpu.uuid.startswith(entry)
    return entry == str(gpu.index)


def slowed(before: Sequence[Gpu], after: Sequence[Gpu], seconds: float) -> dict[int, str]:
    """Returns why GPUs were slowed for more than ``SLOWED_SHARE`` of a time span.

    At the end of a block a GPU is idle again, so its current state says nothing about the block.
    Therefore the counters of the driver are compared. GPUs whose driver does not count are left
    out.

    Args:
        before: The state of the GPUs at the beginning.
        after: Their state at the end.
        seconds: The length of the time span.

    Returns:
        The reasons in words, by the index of the GPU.
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
