"""What Linux counts of single threads of this process: how long they waited for a core."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TASKS = Path("/proc/self/task")


def native_threads() -> set[int]:
    """Ids of the threads that this process has now; none on a system without ``/proc``."""
    with suppress(OSError):
        return {int(path.name) for path in TASKS.iterdir()}
    return set()


class RunQueueClock:
    """Seconds that threads were ready to run and had no core, together, so far.

    The second number of ``/proc/PID/task/TID/schedstat``, in nanoseconds (Linux,
    Documentation/scheduler/sched-stats.rst). It grows when the wait ends. The files stay open,
    since a probe reads them at every mark.

    Args:
        threads: Ids from ``native_threads``; one that has ended since counts no further.
    """

    def __init__(self, threads: Iterable[int]) -> None:
        self._waited_ns: dict[int, int] = {}
        for thread in threads:
            with suppress(OSError):
                self._waited_ns[os.open(TASKS / str(thread) / "schedstat", os.O_RDONLY)] = 0

    @property
    def tells(self) -> bool:
        """Whether there is a thread to tell of, and a kernel that does."""
        return bool(self._waited_ns)

    def seconds(self) -> float:
        """The sum over the threads."""
        for file in self._waited_ns:
            with suppress(OSError):  # ended since; what it had waited stays
                self._waited_ns[file] = int(os.pread(file, 80, 0).split()[1])
        return sum(self._waited_ns.values()) * 1e-9
