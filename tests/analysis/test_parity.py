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


def _off(quantity: str, share: float) -> Evidence:
    """Evidence of which one quantity differs by this share, and nothing else does."""
    losses = [1.0 + share * (quantity == "first loss"), 0.5 + 0.5 * share * (quantity == "losses")]
    known = _evidence(gradient=1 + share * (quantity == "gradients"),
                      parameter=1 + share * (quantity == "updates"))
    return Evidence(losses, known.gradients, known.parameters)


def _verdicts(quantity: str, gate: float, drift: Drift | None) -> list[str]:
    """The verdicts a tenth within a gate and a tenth beyond it, in words."""
    found = [check(_off(quantity, share * gate), _evidence(), INITIAL, drift)
             for share in (0.9, 1.1)]
    assert found[0].error == pytest.approx(0.9, rel=1e-3)
    return [one.reason.partition("gates: ")[2] or one.status for one in found]


@pytest.mark.parametrize(("quantity", "strict", "cap"), [
    ("first loss", 1e-6, 1e-4), ("losses", 1e-5, 0.05), ("gradients", 1e-5, 0.1),
    ("updates", 1e-2, 0.5),
])
def test_each_gate_is_as_wide_as_the_documents_say(
    quantity: str, strict: float, cap: float
) -> None:
    assert _verdicts(quantity, strict, None) == ["ok", f"{quantity} by 1.1"]
    # Ten times a drift of float32, if that is wider, and never more than the cap.
    assert _verdicts(quantity, strict, Drift(*[strict / 20] * 4)) == ["ok", f"{quantity} by 1.1"]
    assert _verdicts(quantity, 3 * strict, Drift(*[3 * strict / 10] * 4)) == [
        "ok", f"{quantity} by 1.1"]
    assert _verdicts(quantity, cap, Drift(9.0, 9.0, 9.0, 9.0)) == ["ok", f"{quantity} by 1.1"]


def test_a_small_tensor_is_held_against_a_thousandth_of_the_models_largest_gradient() -> None:
    def of(small: float) -> Evidence:
        known = _evidence()
        return Evidence(known.losses, known.gradients | {"bias": np.array([small])},
                        known.parameters | {"bias": np.ones(1)})

    initial = INITIAL | {"bias": np.zeros(1)}
    for own, scale in ((1e-2, 1e-2), (1e-5, 1e-3)):
        assert check(of(own + 0.9e-5 * scale), of(own), initial).status == "ok"
        assert check(of(own + 1.1e-5 * scale), of(own), initial).status == "failed"


def test_arrays_of_another_shape_or_name_prove_nothing() -> None:
    known = _evidence()
    other = {"layer0.weight": np.ones((2, 3))}
    assert check(Evidence(known.losses, other, known.parameters), known, INITIAL).error == np.inf
    missing = Evidence(known.losses, known.gradients, {})
    assert "updates" in check(missing, known, INITIAL).reason
    assert "losses" in check(Evidence([1.0], known.gradients, known.parameters), known,
                             INITIAL).reason
    still = _evidence(parameter=0.0)
    assert check(still, still, INITIAL).error == np.inf  # nothing changed


def test_a_loss_of_zero_has_no_relative_error() -> None:
    """It is held against 1e-12, so that equal ones pass and others do not."""
    def of(loss: float) -> Evidence:
        return Evidence([1.0, loss], _evidence().gradients, _evidence().parameters)

    assert check(of(0.0), of(0.0), INITIAL).status == "ok"
    assert check(of(0.9e-17), of(0.0), INITIAL).status == "ok"
    assert check(of(1.1e-17), of(0.0), INITIAL).status == "failed"


@pytest.mark.parametrize(("gradient", "fit"), [
    (1.1e-19, True), (1.0e-19, False), (1.8e19, True), (1.9e19, False),
])
def test_a_reference_is_fit_while_float32_holds_the_squares_of_its_gradients(
    gradient: float, fit: bool
) -> None:
    """Of 1.18e-38 to 3.40e38."""
    assert (unfit_reference(_evidence(gradient=gradient), INITIAL) == "") == fit


def test_a_reference_whose_only_change_has_no_gradient_does_not_train() -> None:
    initial = INITIAL | {"layer0.bias": np.zeros(2, np.float32)}
    known = _evidence(parameter=0.0)
    noise = Evidence(known.losses, known.gradients | {"layer0.bias": np.full(2, 1e-12)},
                     known.parameters | {"layer0.bias": np.ones(2)})
    assert "does not train" in unfit_reference(noise, initial)
    real = Evidence(known.losses, known.gradients | {"layer0.bias": np.full(2, 1e-3)},
                    noise.parameters)
    assert unfit_reference(real, initial) == ""


def test_what_is_just_at_its_gate_passes_and_is_not_named() -> None:
    """Updates of a half are the cap exactly."""
    wild = Drift(9.0, 9.0, 9.0, 9.0)
    assert check(_evidence(parameter=1.5), _evidence(), INITIAL, wild).error == 1.0
    assert check(_evidence(parameter=1.5), _evidence(), INITIAL, wild).status == "ok"
    both = check(_evidence(parameter=1.5, gradient=2.0), _evidence(), INITIAL, wild)
    assert "gradients" in both.reason and "updates" not in both.reason
