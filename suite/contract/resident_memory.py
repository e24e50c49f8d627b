"""The peak of the resident memory of this process."""

from __future__ import annotations

import re
import resource
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_resident() -> None:
    """Resets the peak that ``peak_resident_bytes`` reports to the memory in use now.

    Does nothing if the kernel cannot do that. Source:
    https://docs.kernel.org/filesystems/proc.html, ``/proc/PID/clear_refs``.
    """
    with suppress(OSError):
        CLEAR.write_text("5", encoding="utf-8")


def peak_resident_bytes() -> int:
    """Returns the largest resident set of this process so far, in bytes.

    It reads Linux's ``VmHWM`` rather than ``ru_maxrss``, because ``ru_maxrss`` survives an exec: a
    worker would report the memory of the harness that it was forked from.
    """
    if STATUS.exists():
        peak = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="utf-8"))
        if peak:
            return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
