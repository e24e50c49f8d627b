"""How long launches may take: planted rates, and a large model's own steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.contract.case import Case
from suite.contract.probing import MOST_SECONDS
from suite.launch import bounds
from suite.launch.bounds import ALLOWANCE, OTHER_STEPS, SLOW_CORE_FLOPS_S, Bounds
from suite.machine.calibration import CoreRate
from suite.machine.gpus import Gpu

RATE = 5e10
LARGE = Case("pytorch", "torch", "single", "", "gpt", "gpt2", "real", "cpu", 1, steps=7,
             probe_steps=0, warmup_limit=20)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The cores that were measured."""
    seen: list[list[int]] = []

    def measured(cores: list[int]) -> list[CoreRate]:
        seen.append(list(cores))
        return [CoreRate("cpu0", RATE, 1e10)]

    monkeypatch.setattr(bounds, "measure_cores", measured)
    return seen


def _flops(case: Case, steps: int) -> float:
    return float(case.spec.flops_per_sample() * case.spec.global_batch * steps)


def test_a_small_model_has_the_users_time_and_measures_nothing(
    asked: list[list[int]], fake: Case
) -> None:
    assert Bounds([3, 4], 60.0).launch_seconds(fake) == 60.0 and not asked


def test_a_large_model_has_what_its_steps_need_at_a_quarter_of_the_rate(
    asked: list[list[int]],
) -> None:
    own = Bounds([3, 4], 60.0)
    assert own.launch_seconds(LARGE) == round(ALLOWANCE * _flops(LARGE, 20 + 7) / RATE)
    probed = replace(LARGE, probe_steps=5)
    assert own.launch_seconds(probed) == round(
        ALLOWANCE * _flops(LARGE, 27 + 2 * 5 + OTHER_STEPS) / RATE)
    longer = own.launch_seconds(replace(probed, probe_precision=0.1))
    assert longer == own.launch_seconds(probed) + MOST_SECONDS
    assert own.launch_seconds(replace(LARGE, probe_precision=0.1)) == own.launch_seconds(LARGE)
    # A proof's steps are made in any case; and the first core is measured once, alone.
    short = replace(LARGE, warmup_limit=0)
    assert own.launch_seconds(short) == round(ALLOWANCE * _flops(LARGE, 10 + 7) / RATE)
    assert asked == [[3]]


def test_the_users_time_is_never_shortened(asked: list[list[int]]) -> None:
    slow = ALLOWANCE * _flops(LARGE, 27) / SLOW_CORE_FLOPS_S
    assert Bounds([0], slow).launch_seconds(LARGE) == slow and not asked
    nearly = Bounds([0], slow - 1)
    assert nearly.launch_seconds(LARGE) == slow - 1 and asked


def test_float64_has_half_of_a_cores_rate_and_devices_add_up(asked: list[list[int]]) -> None:
    own = Bounds([0], 1.0)
    assert own.least_seconds(LARGE, 4) == pytest.approx(_flops(LARGE, 4) / RATE)
    double, two = replace(LARGE, dtype="float64"), replace(LARGE, strategy="data", devices=2)
    assert own.least_seconds(double, 4) == pytest.approx(2 * _flops(LARGE, 4) / RATE)
    assert own.least_seconds(two, 4) == pytest.approx(_flops(LARGE, 4) / (2 * RATE))


def test_a_slow_devices_seconds_measure_nothing(asked: list[list[int]]) -> None:
    own, slow = Bounds([0], 1.0), _flops(LARGE, 4) / SLOW_CORE_FLOPS_S
    assert own.slow_seconds(LARGE, 4) == pytest.approx(slow)
    double, two = replace(LARGE, dtype="float64"), replace(LARGE, strategy="data", devices=2)
    assert own.slow_seconds(double, 4) == pytest.approx(2 * slow)
    assert own.slow_seconds(two, 4) == pytest.approx(slow / 2) and not asked


def test_where_no_rate_is_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "measure_cores", lambda _: [])
    own = Bounds([0], 9.0)
    assert own.least_seconds(LARGE, 4) == 0.0 and own.launch_seconds(LARGE) == 9.0
    on_gpu = replace(LARGE, device="cuda")
    monkeypatch.setattr(bounds, "usable_gpus", lambda: [])
    assert own.least_seconds(on_gpu, 4) == 0.0
    monkeypatch.setattr(bounds, "usable_gpus", lambda: [Gpu(0, "NVIDIA H200", pci="")])
    assert Bounds([0], 9.0).least_seconds(on_gpu, 4) > 0.0
