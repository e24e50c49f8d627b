"""Run folders with planted step times, made by the real runner without processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.row import Row
from suite.launch.group import LaunchRequest, Outcome
from suite.machine.calibration import Block, CoreRate
from suite.measure.runner import Runner

COMMON = ("mlp", "tiny", "synthetic", "cpu")
SINGLE = Case("pytorch", "torch", "single", "", *COMMON, 1, steps=12)
DATA = Case("pytorch", "torch", "data", "", *COMMON, 2, steps=12)
CASES = [SINGLE, DATA]
LEDGER = {"threads_per_device": "1", "tf32": "off", "determinism": "off"}


class Planted:
    """A launcher: launch medians scatter by ``launch_noise``, steps within by ``step_noise``."""

    def __init__(
        self, seconds: dict[str, float], seed: int, launch_noise: float = 0.01,
        step_noise: float = 0.02, ledger: dict[str, str] | None = None,
    ) -> None:
        self.seconds, self.random = seconds, np.random.default_rng(seed)
        self.launch_noise, self.step_noise = launch_noise, step_noise
        self.ledger = ledger or LEDGER
        self.started: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.before: Callable[[int], None] = lambda count: None

    def __call__(self, request: LaunchRequest) -> Outcome:
        case, folder, cores = request.case, request.folder, list(request.cores)
        self.before(len(self.started))
        self.started.append((case.case_id, folder.name))
        if case.case_id in self.failing and case.dtype == "float32":
            return Outcome("failed", "planted", 0.1, [])
        ones = {name: np.ones(shape) for name, shape in case.spec.shapes().items()}
        kinds = ("gradient", "parameter")
        arrays = {f"{kind}/{name}": one for kind in kinds for name, one in ones.items()}
        np.savez(folder / "parity.npz", **arrays)
        middle = self.seconds.get(case.case_id, 0.01)
        middle *= float(np.exp(self.random.normal(0, self.launch_noise)))
        records = [self._record(case, rank, middle, cores) for rank in range(case.devices)]
        for rank, record in enumerate(records):
            (folder / f"rank-{rank}.json").write_text(json.dumps(record))
        return Outcome("ok", "", 0.1, records)

    def _steps(self, count: int, middle: float) -> list[float]:
        noise = self.random.normal(0, self.step_noise, count)
        return [float(value) for value in middle * np.exp(noise)]

    def _record(
        self, case: Case, rank: int, middle: float, cores: list[int]
    ) -> dict[str, Any]:
        event = {"kind": "all_reduce", "payload_bytes": 1284, "start_s": 0.001, "end_s": 0.002,
                 "device": 0, "key": "0", "role": "member"}
        trace = {"events": [event] * (case.devices > 1), "missing": "", "seconds": middle,
                 "busy": [[[0.0, 0.0], [0.001, 0.001], [0.002, 0.001], [0.01, 0.009]]]}
        probes = case.probe_steps
        return {
            "rank": rank, "step_seconds": self._steps(case.steps, middle),
            "timed_step_seconds": self._steps(probes, middle), "traces": [trace] * probes,
            "traced_step_seconds": [], "profiles": [],
            "silent_step_seconds": self._steps(probes, middle),
            "warmup_seconds": self._steps(20, middle), "losses": [1.0, 0.5], "open_seconds": 0.1,
            "peak_memory_bytes": 1000, "steady": True, "ledger": self.ledger,
            "affinity": cores[rank : rank + 1],
        }


class Still:
    """A machine that never changes, measured in no time."""

    def begin(self, number: int) -> Block:
        return Block(number, [CoreRate("cpu0", 1e9, 1e9)])

    def end(self, block: Block) -> None:
        block.seconds, block.steal_share = 1.0, 0.0


def start_run(
    folder: Path, launcher: Planted, cases: list[Case] | None = None, **options: Any
) -> Runner:
    (folder / "cases").mkdir(parents=True)
    config = RunConfig(**{"repeats": 6, "steps": 12, **options})
    return Runner(config, cases or CASES, folder, lambda event: None, launcher,
                  calibrate=Still())  # type: ignore[arg-type]


def make_run(
    folder: Path, seconds: dict[str, float] | None = None, seed: int = 0, **options: Any
) -> list[Row]:
    """A complete run; ``seconds`` per case id, 10 ms where not given."""
    plant = {name: options.pop(name) for name in ("ledger", "launch_noise") if name in options}
    runner = start_run(folder, Planted(seconds or {}, seed, **plant), **options)
    runner.execute()
    return runner.finish("complete")
