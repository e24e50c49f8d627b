"""What the plain scripts share: sizes, one batch, and how a step is reported."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

WIDTHS = (64, 1024, 1024, 1024, 1024, 10)  # of the MLP
VOCABULARY, SEQUENCE, WIDTH, HEADS, BLOCKS = 256, 128, 256, 8, 4  # of the GPT
BATCH = {"mlp": 128, "gpt": 8}
RATE = {"mlp": 1e-3, "gpt": 3e-4}
PARTS = 4  # micro-batches of a pipeline
WARMUP, STEPS = 20, 20


def batch(workload: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits, float32 (batch, 64) and int32 (batch,); or bytes of source code and the next ones.

    The latter are int32 (batch, sequence) both.
    """
    size = BATCH[workload]
    if workload == "mlp":
        x, y = load_digits(return_X_y=True)
        return StandardScaler().fit_transform(x)[:size].astype(np.float32), y[:size].astype("int32")
    text = np.frombuffer(Path(argparse.__file__).read_bytes(), np.uint8).astype(np.int32)
    x, y = (text[start : start + size * SEQUENCE] for start in (0, 1))
    return x.reshape(size, SEQUENCE), y.reshape(size, SEQUENCE)


def report(build: Callable[..., Callable[[], object]]) -> None:
    """Prints the median step of a script run by itself, of the workload named behind it or mlp."""
    step = build(*sys.argv[1:2])
    seconds = []
    for _ in range(WARMUP + STEPS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    print(f"{statistics.median(seconds[WARMUP:]) * 1e3:.2f} ms", flush=True)
