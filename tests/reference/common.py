"""What the plain scripts share: shapes, one batch, initial weights, and how a step is reported."""

import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

WIDTHS, BATCH = (64, 1024, 1024, 1024, 1024, 10), 128
WARMUP, STEPS = 20, 20


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (size, 64) and int32 (size,)."""
    x, y = load_digits(return_X_y=True)
    return StandardScaler().fit_transform(x)[:size].astype(np.float32), y[:size].astype(np.int32)


def weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Matrix (in, out) and bias of each layer."""
    generator = np.random.default_rng(1)
    return [
        ((generator.standard_normal((a, b)) * a**-0.5).astype(np.float32), np.zeros(b, np.float32))
        for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)
    ]


def report(step: Callable[[], object]) -> None:
    """Prints the median step of a script run by itself."""
    seconds = []
    for _ in range(WARMUP + STEPS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    print(f"{statistics.median(seconds[WARMUP:]) * 1e3:.2f} ms", flush=True)
