"""How much memory a process has held."""

from __future__ import annotations

import re
import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_resident_bytes() -> int:
    """Largest resident set of this program.

    Linux's ``VmHWM``, not ``ru_maxrss``: that one survives an exec, so a worker would report what
    the harness, which it was forked from, had held before it.
    """
    if STATUS.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
