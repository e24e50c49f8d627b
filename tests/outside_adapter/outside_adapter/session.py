"""Trains the dense classifier in NumPy; devices are shares of the batch, or stages, in turn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from suite.contract.adapter import CommEvent, Inputs, StepTrace, switch
from suite.contract.case import Case, Rank
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident
from suite.contract.splits.batches import batch_slice
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> NumpySession:
    return NumpySession(case, weights, inputs)


class NumpySession:
    def __init__(self, case: Case, weights: Weights, inputs: Inputs) -> None:
        self.case, self.inputs = case, inputs
        kind = np.float64 if case.dtype == "float64" else np.float32
        self.weights = {name: array.astype(kind) for name, array in weights.items()}
        self.moments = {
            name: (np.zeros_like(array), np.zeros_like(array))
            for name, array in self.weights.items()
        }
        self.count = 0
        self.last: Weights = {}

    def step(self, index: int) -> float:
        x, y = self.inputs.at(index)
        shares = self.case.devices if self.case.strategy == "data" else 1
        parts = [self._gradients(x[s], y[s]) for s in
                 (batch_slice(len(x), shares, number) for number in range(shares))]
        self.last = {name: np.mean([g[name] for _, g in parts], axis=0) for name in self.weights}
        self._update()
        if self.case.engine == "card":
            self._gradients(x, y)
        return float(np.mean([loss for loss, _ in parts]))

    def _gradients(self, x: np.ndarray, y: np.ndarray) -> tuple[float, Weights]:
        """Mean binary cross-entropy of logits, and its gradients by hand."""
        layers, kind = len(self.weights) // 2, next(iter(self.weights.values())).dtype
        entering = [x.astype(kind)]
        for number in range(layers):
            out = entering[-1] @ self.weights[f"layer{number}.weight"]
            out = out + self.weights[f"layer{number}.bias"]
            entering.append(np.maximum(out, 0) if number < layers - 1 else out)
        logits = entering[-1][:, 0]
        loss = np.mean(np.maximum(logits, 0) - logits * y + np.log1p(np.exp(-np.abs(logits))))
        back = ((1 / (1 + np.exp(-logits)) - y) / len(y)).astype(logits.dtype)[:, None]
        found: Weights = {}
        for number in reversed(range(layers)):
            found[f"layer{number}.weight"] = entering[number].T @ back
            found[f"layer{number}.bias"] = back.sum(0)
            back = (back @ self.weights[f"layer{number}.weight"].T) * (entering[number] > 0)
        return float(loss), found

    def _update(self) -> None:
        """Adam as written: epsilon after bias correction."""
        adam, self.count = self.case.spec.optimizer, self.count + 1
        for name, gradient in self.last.items():
            m, v = self.moments[name]
            m += (1 - adam.beta1) * (gradient - m)
            v += (1 - adam.beta2) * (gradient**2 - v)
            rate = adam.learning_rate / (1 - adam.beta1**self.count)
            root = np.sqrt(v / (1 - adam.beta2**self.count)) + adam.epsilon
            self.weights[name] -= (rate * m / root).astype(m.dtype)

    def synchronize(self) -> None:
        return None

    def loss(self, handle: float) -> float:
        return handle

    def gradients(self) -> Weights:
        return self.last

    def parameters(self) -> Weights:
        return self.weights

    def agree(self, ready: bool) -> bool:
        return ready

    def timed_step(self, index: int) -> StepTrace:
        """Every communication of the strategy, one millisecond each, beside equal busy times."""
        began = time.perf_counter()
        self.step(index)
        spent = time.perf_counter() - began
        wanted = logical_communications(self.case)
        events = [event for number, (kind, size) in enumerate(wanted)
                  for event in self._events(kind, size, number)]
        end = 1e-3 * len(wanted)
        busy = [[(0.0, 0.0), (end, 0.0), (end + spent, spent)]] * self.case.devices
        return StepTrace(events, busy, seconds=spent)

    def _events(self, kind: str, size: int, number: int) -> list[CommEvent]:
        start, end, key = 1e-3 * number, 1e-3 * (number + 1), f"{kind}{number}"
        roles = ["send", "recv"] if kind == "send_recv" else ["member"] * self.case.devices
        return [CommEvent(kind, size, start, end, device, key=key, role=role)
                for device, role in enumerate(roles)]

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        return StepTrace()

    def silent_step(self, index: int) -> Any:
        return self.step(index)

    def reset_peak_memory(self) -> None:
        reset_peak_resident()

    def peak_memory_bytes(self) -> int:
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        return 0

    def matmul_flops_s(self) -> float:
        return 1e9

    def describe(self) -> dict[str, str]:
        return {"numpy": np.__version__, "threads_per_device": "1", "dtype": self.case.dtype,
                "mode": self.case.mode, "tf32": switch(False), "determinism": switch(False)}

    def close(self) -> None:
        return None
