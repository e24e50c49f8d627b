"""The gate passes equal evidence and catches planted faults."""

import numpy as np
import pytest

from suite.analysis.parity import Drift, Evidence, check, measure_drift, unfit_reference

INITIAL = {"layer0.weight": np.zeros((3, 2), np.float32)}


def _evidence(loss: float = 1.0, gradient: float = 1.0, parameter: float = 1.0) -> Evidence:
    shape = (3, 2)
    return Evidence(
        [loss, 0.5],
        {"layer0.weight": np.full(shape, gradient)},
        {"layer0.weight": np.full(shape, parameter)},
    )


def test_equal_is_ok() -> None:
    assert check(_evidence(), _evidence(), INITIAL).status == "ok"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"loss": 1.00001}, "first loss"),
        ({"gradient": 2.0}, "gradients"),
        ({"parameter": 1.1}, "updates"),
        ({"loss": float("nan")}, "loss"),
        ({"gradient": float("nan")}, "gradients"),
    ],
)
def test_faults_are_named(fault: dict, named: str) -> None:
    verdict = check(_evidence(**fault), _evidence(), INITIAL)
    assert verdict.status == "failed"
    assert named in verdict.reason


def test_missing_tensor_fails() -> None:
    found = Evidence([1.0, 0.5], {}, _evidence().parameters)
    assert check(found, _evidence(), INITIAL).status == "failed"


def test_gates_widen_to_ten_times_the_drift_of_float32() -> None:
    single = _evidence(1 + 2e-6, 1 + 1e-4, 1 + 1e-2)
    drift = measure_drift(single, _evidence(), INITIAL)
    expected = (2e-6, 2e-6, 1e-4, 1e-2)
    assert (drift.first_loss, drift.losses, drift.gradients, drift.updates) == pytest.approx(
        expected, rel=1e-3
    )
    worse = _evidence(1 + 1.9e-5, 1 + 9e-4, 1 + 9e-2)
    assert check(worse, _evidence(), INITIAL).status == "failed"
    assert check(worse, _evidence(), INITIAL, drift).status == "ok"
    assert "gradients" in check(_evidence(gradient=1.002), _evidence(), INITIAL, drift).reason


def test_no_drift_excuses_another_gradient() -> None:
    wild = Drift(1.0, 1.0, 1.0, 1.0)
    assert check(_evidence(gradient=1.05), _evidence(), INITIAL, wild).status == "ok"
    assert check(_evidence(gradient=1.2), _evidence(), INITIAL, wild).status == "failed"


def test_a_flipped_relu_is_one_entry_and_another_scale_is_all_of_them() -> None:
    """What one entry of many does passes by norm, once float32 is known to do the like."""
    def of(gradients: np.ndarray) -> Evidence:
        known = _evidence()
        return Evidence(known.losses, {"layer0.weight": gradients}, known.parameters)

    clean = np.ones((100, 100))
    flipped, other = clean.copy(), clean.copy()
    flipped[0, 0], other[9, 9] = 1.2, 0.7
    drift = measure_drift(of(other), of(clean), INITIAL)
    assert drift.gradients == pytest.approx(0.3 / 100)
    assert check(of(flipped), of(clean), INITIAL).status == "failed"
    assert check(of(flipped), of(clean), INITIAL, drift).status == "ok"
    assert check(of(1.1 * clean), of(clean), INITIAL, drift).status == "failed"


@pytest.mark.parametrize(("noise", "status"), [(5e-6, "ok"), (2e-5, "failed")])
def test_noise_of_a_zero_gradient_is_held_against_the_model(noise: float, status: str) -> None:
    """Adam makes whole learning rates of it, which prove nothing."""
    initial = INITIAL | {"layer0.bias": np.zeros(2, np.float32)}

    def evidence(gradient: float, moved: float) -> Evidence:
        known = _evidence()
        return Evidence(
            known.losses, known.gradients | {"layer0.bias": np.full(2, gradient)},
            known.parameters | {"layer0.bias": np.full(2, moved)},
        )

    assert check(evidence(noise, 0.3), evidence(1e-17, -0.3), initial).status == status


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"loss": 1.0002}, "first loss"), ({"gradient": 1.2}, "gradients"),
        ({"parameter": 1.6}, "updates"),
    ],
)
def test_no_drift_widens_a_gate_beyond_its_cap(fault: dict, named: str) -> None:
    wild = Drift(1.0, 1.0, 1.0, 1.0)
    assert named in check(_evidence(**fault), _evidence(), INITIAL, wild).reason


def test_later_losses_have_a_cap_too() -> None:
    wild = Drift(1.0, 1.0, 1.0, 1.0)
    late = Evidence([1.0, 0.53], _evidence().gradients, _evidence().parameters)
    assert "losses" in check(late, _evidence(), INITIAL, wild).reason


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (_evidence(loss=float("nan")), "NaN"),
        (_evidence(gradient=float("inf")), "infinity"),
        (_evidence(parameter=0.0), "does not train"),
        (_evidence(gradient=1e25), "square"),
        (_evidence(gradient=1e-25), "square"),
        (_evidence(), ""),
    ],
)
def test_a_reference_that_proves_nothing_is_named(reference: Evidence, said: str) -> None:
    found = unfit_reference(reference, INITIAL)
    assert said in found and bool(found) == bool(said)
