"""How much memory a process has held."""

from __future__ import annotations

import re
import resource
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_resident() -> None:
    """Lets ``peak_resident_bytes`` start anew from what is held now, where the kernel does that.

    https://docs.kernel.org/filesystems/proc.html, ``/proc/PID/clear_refs``
    """
    with suppress(OSError):
        CLEAR.write_text("5", encoding="utf-8")


def peak_resident_bytes() -> int:
    """Largest resident set of this program.

    Linux's ``VmHWM``, not ``ru_maxrss``: that one survives an exec, so a worker would report what
    the harness, which it was forked from, had held before it.
    """
    if STATUS.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
