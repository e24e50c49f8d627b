"""The limits of a container; for a program in the container they are the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from suite.machine.devices import allowed_cores
from suite.machine.probe import known

OWN, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores(own: Path = OWN, mounted: Path = MOUNTED) -> int:
    """Returns how many cores can be busy at once: those of the affinity, or fewer under a CPU
    quota.
    """
    count, quota = len(allowed_cores()), cpu_quota(own, mounted)
    return count if quota is None else max(1, min(count, int(quota + 0.01)))


def cpu_quota(own: Path = OWN, mounted: Path = MOUNTED) -> float | None:
    """Returns how many cores' worth of time the control groups of this process allow.

    Inside a container the mount shows the container's own group as the root. If groups are nested,
    the tightest limit counts.

    Args:
        own: The file that lists the control groups of this process.
        mounted: Where the control groups are mounted.

    Returns:
        A number of cores, or None without a limit.
    """
    return min(_quotas(own, mounted), default=None)


def control_groups(own: Path) -> list[tuple[list[str], str]]:
    """Returns the controllers and the path of each group that ``/proc/self/cgroup`` lists.

    Version 2 has a single group without named controllers. Lines of another form are left out.
    """
    text = known(lambda: own.read_text(encoding="utf-8", errors="replace"), "")
    parts = (line.split(":", 2) for line in text.splitlines())
    return [(list(filter(None, each[1].split(","))), each[2]) for each in parts if len(each) == 3]


def _quotas(own: Path, mounted: Path) -> Iterator[float]:
    for controllers, path in control_groups(own):
        if not controllers:
            yield from _along(mounted, path, _version_2)
        elif "cpu" in controllers:
            yield from _along(mounted / "cpu", path, _version_1)


def _along(
    root: Path, path: str, read: Callable[[Path], float | None]
) -> Iterator[float]:
    place = root / path.lstrip("/")
    for folder in (place, *place.parents):
        with suppress(OSError, ValueError, ArithmeticError):
            limit = read(folder)
            if limit is not None and limit > 0:
                yield limit
        if folder == root:
            break


def _version_2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
    period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    return quota / period
