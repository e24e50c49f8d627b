"""The second alpha: planted lines are found, sums are right, launches left out are predicted."""

from __future__ import annotations

import numpy as np
import pytest

from suite.analysis.in_run import fit_calls, in_run_model
from suite.analysis.transfers import total_seconds

A, ALPHA = 2e-3, 5e-9


def _line(*sizes: int, factor: float = 1.0) -> list[tuple[int, float]]:
    return [(size, factor * (A + ALPHA * size)) for size in sizes]


def test_a_planted_line_is_found() -> None:
    fit = fit_calls(_line(1000, 200_000, 1_000_000))
    assert fit.latency_s == pytest.approx(A) and fit.alpha_s_per_byte == pytest.approx(ALPHA)


def test_one_size_takes_the_slope_of_the_link() -> None:
    fit = fit_calls(_line(1_000_000, 1_000_000), 2e-9)
    assert fit.alpha_s_per_byte == 2e-9
    assert fit.seconds(1_000_000) == pytest.approx(A + ALPHA * 1_000_000)


def test_one_size_without_a_link_is_latency() -> None:
    fit = fit_calls(_line(1_000_000))
    assert fit.alpha_s_per_byte == 0.0 and fit.latency_s == pytest.approx(A + ALPHA * 1e6)


@pytest.mark.parametrize("idle", [None, 1e-9, 4e-8])
def test_the_mean_is_kept_and_nothing_is_negative(idle: float | None) -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        calls = [(int(size), float(t)) for size, t in
                 zip(generator.integers(1, 10**6, 5), generator.uniform(1e-5, 1e-2, 5),
                     strict=True)]
        fit = fit_calls(calls, idle)
        assert fit.latency_s >= 0 and fit.alpha_s_per_byte >= 0
        mean = np.mean([seconds for _, seconds in calls])
        assert np.mean([fit.seconds(size) for size, _ in calls]) == pytest.approx(mean)


def test_a_row_holds_by_the_formula() -> None:
    """N·latency + alpha·B·N is the transfer, of two kinds with lines of their own too."""
    launch = {"all_reduce": _line(1000, 100_000), "all_gather": _line(5000, 800_000, factor=3)}
    model = in_run_model([launch, launch], 2, {})
    assert model is not None
    count, moved = 4, 906_000
    told = count * model.latency_s + model.alpha_s_per_byte * moved
    assert told == pytest.approx(model.transfer_s) == pytest.approx(total_seconds(launch, 2))
    assert model.heldout_error == pytest.approx(0.0, abs=1e-9)


def test_hops_are_their_receivers_alone() -> None:
    launch = {"send_recv": _line(1000, 1000)}
    model = in_run_model([launch], 2, {})
    assert model is not None and model.transfer_s == pytest.approx(A + ALPHA * 1000)
    assert model.heldout_error is None


def test_a_launch_that_differs_shows_in_the_error() -> None:
    steady = [{"all_reduce": _line(1000, 100_000)}] * 3
    slow = {"all_reduce": _line(1000, 100_000, factor=2.0)}
    model = in_run_model([*steady, slow], 2, {})
    assert model is not None and model.heldout_error == pytest.approx(0.0, abs=1e-9)
    assert model.transfer_s == pytest.approx(total_seconds(steady[0], 2))
    both = in_run_model([steady[0], slow], 2, {})
    assert both is not None and both.heldout_error == pytest.approx(0.75)


def test_a_late_call_that_is_another_one_in_each_launch_is_predicted() -> None:
    """No call's median is late, but every launch takes the delay."""
    launches = []
    for late in range(3):
        calls = _line(1000, 1000, 1000)
        calls[late] = (1000, calls[late][1] + 0.006)
        launches.append({"send_recv": calls})
    model = in_run_model(launches, 2, {})
    assert model is not None
    assert model.transfer_s == pytest.approx(total_seconds(launches[0], 2))
    assert model.heldout_error == pytest.approx(0.0, abs=1e-9)


def test_launches_that_fused_differently_are_fitted_together() -> None:
    model = in_run_model([{"all_reduce": _line(1000, 3000)}, {"all_reduce": _line(4000)}], 2, {})
    assert model is not None and model.alpha_s_per_byte == pytest.approx(ALPHA)


def test_how_often_bytes_are_fused_does_not_hide_that_they_take_the_time() -> None:
    """All launches move 8 MB in 40 ms, in 4 to 6 communications that share the time equally."""
    sizes = ([2e6] * 4, [4e6, 3e6, 5e5, 4e5, 1e5], [6e6, 1e6, 5e5, 3e5, 1e5, 1e5], [2e6] * 4)
    launches = [{"all_reduce": [(int(size), 0.04 / len(calls)) for size in calls]}
                for calls in sizes]
    model = in_run_model(launches, 2, {})
    assert model is not None and model.heldout_error == pytest.approx(0.0, abs=0.01)
    assert model.alpha_s_per_byte == pytest.approx(5e-9, rel=0.01)


def test_transfers_that_took_no_time_are_predicted_to_take_none() -> None:
    model = in_run_model([{"send_recv": [(1000, 0.0), (1000, 0.0)]}] * 2, 2, {})
    assert model is not None and model.transfer_s == 0.0 and model.heldout_error is None


def test_no_transfers_no_model() -> None:
    assert in_run_model([{}, {}], 2, {}) is None
