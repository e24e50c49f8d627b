"""What a reference needs at least, counted by hand, beside what may be taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.workloads import parameter_count
from suite.machine.gpus import Gpu
from suite.measure import proof_limits
from suite.measure.proof_limits import ProofLimits, host_bytes, training_bytes

GPT = Case("pytorch", "torch", "single", "", "gpt", "tiny", "real", "cpu", 1, dtype="float64",
           steps=1)
GIB = 1 << 30


class Speed:
    """Bounds of a machine on which a step takes ``step_s``, and on the slowest twice as long."""

    def __init__(self, step_s: float, timeout: float = 120.0, gpus: tuple[Gpu, ...] = ()) -> None:
        self.step_s, self.timeout, self.gpus = step_s, timeout, gpus
        self.measured = 0

    def least_seconds(self, case: Case, steps: int) -> float:
        self.measured += 1
        return self.step_s * steps

    def slow_seconds(self, case: Case, steps: int) -> float:
        return 2 * self.step_s * steps


def _limits(step_s: float = 0.0, gpus: tuple[Gpu, ...] = (), **options: Any) -> ProofLimits:
    return ProofLimits(RunConfig(**options), Speed(step_s, gpus=gpus))  # type: ignore[arg-type]


@pytest.mark.parametrize(("changes", "training", "host"), [
    # Weights, gradients and two moments in float64; beside them the initial weights in float32,
    # and gradients and result once more for the proof.
    ({}, 32, 4 + 16 + 32),
    ({"dtype": "float32"}, 16, 4 + 8 + 16),
    # Losses alone need no arrays of a proof.
    ({"dtype": "float32", "proof_arrays": False}, 16, 4 + 16),
    # A GPU trains in its own memory. While it is judged, the harness has 16 bytes of the
    # reference, 8 of the case, and the initial value.
    ({"device": "cuda"}, 32, 28),
    ({"device": "cuda", "proof_arrays": False}, 32, 4),
])
def test_bytes_of_a_parameter(changes: dict[str, Any], training: int, host: int) -> None:
    case, count = replace(GPT, **changes), parameter_count(GPT.spec)
    assert (training_bytes(case), host_bytes(case)) == (training * count, host * count)


def test_what_just_fits_may_be_tried() -> None:
    needed = host_bytes(GPT)
    assert _limits(proof_memory=needed).problem(GPT) == ""
    said = _limits(proof_memory=needed - 1).problem(GPT)
    assert said.startswith("float64 on one cpu device needs ") and "of memory or more" in said


def test_without_a_limit_the_machine_keeps_its_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = host_bytes(GPT)
    monkeypatch.setattr(proof_limits, "margin_bytes", lambda: GIB)
    for free, fits in ((needed + GIB, True), (needed + GIB - 1, False)):
        monkeypatch.setattr(proof_limits, "available_bytes", lambda free=free: free)
        assert (_limits().problem(GPT) == "") == fits
    # With less than the margin there is no room, and none is claimed.
    monkeypatch.setattr(proof_limits, "available_bytes", lambda: GIB - 5)
    assert "0 B may be taken" in _limits().problem(GPT)


def test_of_a_gpu_its_own_memory_counts_and_the_hosts_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = replace(GPT, device="cuda")
    monkeypatch.setattr(proof_limits, "margin_bytes", lambda: 0)
    monkeypatch.setattr(proof_limits, "available_bytes", lambda: GIB)
    for size, said in ((training_bytes(case), ""), (training_bytes(case) - 1, "GPU memory")):
        assert said in _limits(gpus=(Gpu(0, "H200", memory_bytes=size),)).problem(case)
        assert said in _limits(proof_memory=size).problem(case)
        assert bool(_limits(proof_memory=size).problem(case)) == bool(said)
    assert _limits().problem(case) == ""  # of a GPU that nobody knows nothing is said
    monkeypatch.setattr(proof_limits, "available_bytes", lambda: host_bytes(case) - 1)
    assert "of memory or more" in _limits(proof_memory=GIB).problem(case)


def test_eleven_steps_have_to_fit_into_the_time() -> None:
    """Those of the proof, and one that is measured."""
    common = {"proof_memory": GIB, "proof_timeout": 110.0}
    assert _limits(10.0, **common).problem(GPT) == ""
    assert "takes 121 s or more, 110 s may be taken" in _limits(11.0, **common).problem(GPT)


@pytest.mark.parametrize(("step_s", "seconds"), [
    (1.0, 120.0),  # four times 11 s are less than the user's timeout
    (5.0, 220.0), (100.0, 600.0),
])
def test_a_launch_may_take_four_times_its_least_within_the_users_limits(
    step_s: float, seconds: float
) -> None:
    assert _limits(step_s, proof_timeout=600.0).seconds(GPT) == seconds


@pytest.mark.parametrize(("step_s", "measured"), [
    (1.3, (0, 0)), (1.4, (0, 1)), (5.0, (0, 1)), (5.1, (1, 1))])
def test_what_a_slow_device_does_in_time_measures_none(
    step_s: float, measured: tuple[int, int]
) -> None:
    """11 steps at half the speed: within 110 s, and four times of them within 120 s or beyond."""
    limits, found = _limits(step_s, proof_memory=GIB, proof_timeout=110.0), []
    speed: Any = limits.bounds
    for ask in (limits.problem, limits.seconds):
        before = speed.measured
        ask(GPT)
        found.append(speed.measured - before)
    assert tuple(found) == measured


def test_a_large_launch_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for needed, watched in ((GIB - 1, False), (GIB, True)):
        monkeypatch.setattr(proof_limits, "host_bytes", lambda case, needed=needed: needed)
        assert (_limits().guard(GPT) is not None) == watched
