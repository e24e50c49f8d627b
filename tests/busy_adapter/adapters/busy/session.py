"""A step is PRODUCTS matrix products; the slower engine does 5 % more of them.

``BUSY_EXTRA`` in the environment adds as many to every engine's step.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from suite.contract.adapter import Inputs, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights

PRODUCTS, EXTRA, SIZE = 40, 2, 192


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> BusySession:
    return BusySession(case, weights)


class BusySession:
    def __init__(self, case: Case, weights: Weights) -> None:
        self.weights = weights
        added = EXTRA if case.engine == "slower" else 0
        self.products = PRODUCTS + added + int(os.environ.get("BUSY_EXTRA", "0"))
        self.matrix = np.ones((SIZE, SIZE), np.float32)

    def step(self, index: int) -> int:
        for _ in range(self.products):
            self.matrix @ self.matrix
        return index

    def synchronize(self) -> None:
        """Nothing is asynchronous."""

    def loss(self, handle: int) -> float:
        return 0.5**handle

    def gradients(self) -> Weights:
        return {name: np.ones_like(array) for name, array in self.weights.items()}

    def parameters(self) -> Weights:
        return {name: array + 1 for name, array in self.weights.items()}

    def timed_step(self, index: int) -> StepTrace:
        self.step(index)
        return StepTrace()

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        self.step(index)
        return StepTrace()

    def silent_step(self, index: int) -> None:
        self.step(index)

    def agree(self, ready: bool) -> bool:
        return ready

    def reset_peak_memory(self) -> None:
        return None

    def peak_memory_bytes(self) -> int:
        return 1

    def device_memory_bytes(self) -> int:
        return 0

    def matmul_flops_s(self) -> float:
        return 0.0

    def describe(self) -> dict[str, str]:
        return {"threads_per_device": "1", "tf32": "off", "determinism": "on"}

    def close(self) -> None:
        """Nothing is shared with another process."""
