"""Measures the rates of cores, one after the other: ``python -m suite.machine.core_rates``.

This runs in a process of its own, with a single thread that moves from core to core. So the harness
itself starts no threads of a numerical library, and every core is measured alone, as a case with a
single device uses it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from suite.machine.probe import answer

TOTAL_SECONDS, CORE_SECONDS = 0.7, 0.15
MATRIX, COPY_BYTES = 384, 32 * 1024 * 1024


def main() -> None:
    """Answers with an object for each core: FLOP/s of float32 products and bytes/s of memory
    copies.
    """
    cores = [int(core) for core in sys.argv[2].split(",")]
    each = min(CORE_SECONDS, TOTAL_SECONDS / len(cores))
    answer([_rates(core, each) for core in cores])


def _rates(core: int, seconds: float) -> dict[str, Any]:
    import numpy as np

    os.sched_setaffinity(0, {core})
    a = np.ones((MATRIX, MATRIX), np.float32)
    source, target = np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)
    product = _fastest(lambda: a @ a, seconds / 2)
    copied = _fastest(lambda: np.copyto(target, source), seconds / 2)
    return {"device": f"cpu{core}", "matmul_flops_s": 2.0 * MATRIX**3 / product,
            "copy_bytes_s": COPY_BYTES / copied}


def _fastest(work: Callable[[], Any], seconds: float) -> float:
    """Returns the seconds of the fastest call; interruptions can only make a call slower."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
