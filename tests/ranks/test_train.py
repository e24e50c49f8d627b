"""A rank's passes in order, with a session that plants what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import psutil
import pytest

from suite.contract.adapter import Inputs, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.resident_memory import CLEAR, peak_resident_bytes, reset_peak_resident
from suite.contract.workloads import Weights
from suite.ranks.train import run_rank
from tests.fake_adapter.adapters.fake.session import FakeSession

HELD = 256 << 20


def _hold() -> None:
    """Memory of that size for a moment; the operating system has it back at once."""
    np.ones(HELD, np.uint8)


class Holding(FakeSession):
    """Much in the proof and in a step with probes, ``in_step`` of it in the steps between too."""

    in_step = False

    def step(self, index: int) -> int:
        if self.in_step and index >= 10:
            _hold()
        return index

    def loss(self, handle: int) -> float:
        _hold()
        return 1.0

    def timed_step(self, index: int) -> StepTrace:
        _hold()
        return super().timed_step(index)

    def reset_peak_memory(self) -> None:
        reset_peak_resident()

    def peak_memory_bytes(self) -> int:
        return peak_resident_bytes()


@pytest.mark.skipif(not CLEAR.exists(), reason="this kernel sets no high-water mark back")
@pytest.mark.parametrize("in_step", [False, True])
def test_the_peak_is_of_the_steps_alone(tmp_path: Path, in_step: bool) -> None:
    case = Case("fake", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1,
                steps=3, probe_steps=1, warmup_limit=20)

    def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> FakeSession:
        session = Holding(case, rank, weights)
        session.in_step = in_step
        return session

    before = psutil.Process().memory_info().rss
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(case, Rank(0, 1, tmp_path), inputs, open_session)  # type: ignore[arg-type]
    record = json.loads((tmp_path / "rank-0.json").read_text())
    assert (record["peak_memory_bytes"] - before > HELD / 2) == in_step


class Breaking(FakeSession):
    """Trains well while it is proven, and on NaN in its measured steps."""

    def loss(self, handle: int) -> float:
        return float("nan") if handle >= 22 else 1.0


def test_training_that_breaks_down_after_the_proof_is_no_result(tmp_path: Path) -> None:
    case = Case("fake", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1,
                steps=3, probe_steps=0, warmup_limit=20)
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    with pytest.raises(ArithmeticError, match="the loss after 24 steps is nan"):
        run_rank(case, Rank(0, 1, tmp_path), inputs,
                 lambda case, rank, weights, inputs: Breaking(case, rank, weights))
    assert not (tmp_path / "rank-0.json").exists()
    assert (tmp_path / "phase-0").read_text() == "clean steps"


class Hiding(FakeSession):
    """Parameters that become NaN without a trace in the loss, as behind a relu that drops it."""

    seen = 0

    def loss(self, handle: int) -> float:
        return 1.0

    def parameters(self) -> Weights:
        self.seen += 1
        broken = np.nan if self.seen > 1 else 0.0
        return {name: array + broken for name, array in self.weights.items()}


def test_parameters_that_are_not_finite_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("fake", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1,
                steps=3, probe_steps=0, warmup_limit=20)
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)

    def run(folder: Path) -> None:
        folder.mkdir()
        run_rank(case, Rank(0, 1, folder), inputs,
                 lambda case, rank, weights, inputs: Hiding(case, rank, weights))

    with pytest.raises(ArithmeticError, match="is not finite after 24 steps"):
        run(tmp_path / "a")
    monkeypatch.setattr("suite.ranks.train.CHECKED_BYTES", 0)  # too large to be gathered again
    run(tmp_path / "b")
    assert (tmp_path / "b" / "rank-0.json").exists()


class Wrong(FakeSession):
    """NaN from the first step on."""

    def loss(self, handle: int) -> float:
        return float("nan")


def test_training_on_nan_from_the_start_is_left_to_the_proof(tmp_path: Path) -> None:
    case = Case("fake", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1,
                steps=3, probe_steps=0, warmup_limit=20)
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(case, Rank(0, 1, tmp_path), inputs,
             lambda case, rank, weights, inputs: Wrong(case, rank, weights))
    assert (tmp_path / "rank-0.json").exists()
