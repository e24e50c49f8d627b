"""What the plain scripts share: one batch, and the median of their steps printed by each rank."""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np

WIDTHS, BATCH = (64, 1024, 1024, 1024, 1024, 10), 192
WARMUP, STEPS = 20, 20


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((size, WIDTHS[0])).astype(np.float32)
    return x, generator.integers(0, WIDTHS[-1], size).astype(np.int32)


def weights() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [
        ((generator.standard_normal((a, b)) * a**-0.5).astype(np.float32), np.zeros(b, np.float32))
        for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)
    ]


def report(step: Callable[[], object]) -> None:
    seconds = []
    for _ in range(WARMUP + STEPS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"median": statistics.median(seconds[WARMUP:])}), flush=True)
