"""Limits the memory of a launch: says how much room there is, and when a group exceeds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from suite.contract.formats import size_bytes
from suite.machine.limits import control_groups
from suite.machine.probe import known

# The share of memory that is always left to the rest of the machine.
MARGIN_SHARE, LEAST_MARGIN = 0.1, 512 << 20
CGROUPS = Path("/sys/fs/cgroup")
# What counts as free where the system does not tell: nothing is refused for it.
UNKNOWN_BYTES = 1 << 62


def margin_bytes() -> int:
    """Returns how much memory is left to the rest of the machine: a tenth of all."""
    return max(LEAST_MARGIN, int(MARGIN_SHARE * psutil.virtual_memory().total))


def available_bytes() -> int:
    """Returns how much memory this machine, or this container, can give without swapping."""
    free = known(lambda: int(psutil.virtual_memory().available), UNKNOWN_BYTES)
    return min([free, *_rooms(Path("/proc/self/cgroup"), CGROUPS)])


def _rooms(own: Path, mounted: Path) -> Iterator[int]:
    """Yields the room under each memory limit of this process's control groups (versions 1 and 2).

    Inside a container the mount shows the container's own group as the root. Cached files that the
    kernel can drop at once do not count as used.
    """
    for controllers, path in control_groups(own):
        names = ("memory.max", "memory.current", "inactive_file")
        root = mounted
        if controllers:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = mounted / "memory"
        if controllers and "memory" not in controllers:
            continue
        place = root / path.lstrip("/")
        for folder in (place, *place.parents):
            with suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text("utf-8")) for name in names[:2])
                if limit > 0:
                    yield max(0, limit - used + _dropped(folder, names[2]))
            if folder == root:
                break


def _dropped(folder: Path, name: str) -> int:
    """Returns the bytes of cached files; 0 if the group does not tell."""
    def told() -> int:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)

    return known(told, 0)


def kernel_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """Returns how many processes the kernel has ended for lack of memory since it started.

    Those of containers count too (mm/oom_kill.c); 0 where the kernel does not tell.
    """
    def told() -> int:
        lines = counters.read_text(encoding="utf-8").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    return known(told, 0)


@dataclass(frozen=True)
class Guard:
    """Says why a group of processes must end: a process exceeds its limit, or the machine runs
    short.

    ``limit_bytes`` limits the resident memory of each device; it is 0 if the device's allocator has
    a limit of its own. A process that drives several devices may use that much for each of them.
    """

    limit_bytes: int
    devices: int
    margin: int

    def process_limit(self, processes: int) -> int:
        """Returns how many bytes each of so many processes may use."""
        return self.limit_bytes * self.devices // processes

    def __call__(self, pids: Sequence[int]) -> str:
        """Returns why the group must end; an empty text if it may go on."""
        limit = self.process_limit(len(pids))
        for rank, held in enumerate(map(resident_bytes, pids)):
            if limit and held > limit:
                return f"rank {rank} held {size_bytes(held)} of memory, its limit is " \
                       f"{size_bytes(limit)}"
        left = available_bytes()
        if left < self.margin:
            return f"the machine had {size_bytes(left)} of memory left, " \
                   f"{size_bytes(self.margin)} are kept free"
        return ""


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process in bytes; 0 if it has ended."""
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0
