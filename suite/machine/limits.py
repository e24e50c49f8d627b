"""The limits of a container, which are the machine for whoever runs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from suite.machine.devices import allowed_cores

OWN, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores(own: Path = OWN, mounted: Path = MOUNTED) -> int:
    """How many cores can be busy at once: those of the affinity, or fewer under a CPU quota."""
    count, quota = len(allowed_cores()), cpu_quota(own, mounted)
    return count if quota is None else max(1, min(count, int(quota + 0.01)))


def cpu_quota(own: Path = OWN, mounted: Path = MOUNTED) -> float | None:
    """Cores' worth of time that the control groups of this process allow; None without a limit.

    Inside a container the mount shows the container's group as its root. Of nested groups the
    tightest limit holds.
    """
    return min(_quotas(own, mounted), default=None)


def _quotas(own: Path, mounted: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _along(mounted, path, _version_2)
            elif "cpu" in controllers.split(","):
                yield from _along(mounted / "cpu", path, _version_1)


def _along(
    root: Path, path: str, read: Callable[[Path], float | None]
) -> Iterator[float]:
    place = root / path.lstrip("/")
    for folder in (place, *place.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            limit = read(folder)
            if limit is not None:
                yield limit
        if folder == root:
            break


def _version_2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    return None if quota <= 0 else quota / period
