"""The bounds of TF32 and bfloat16 let rounding through and catch planted mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.analysis.rounding import UNDERFLOW, check_compression, check_losses, check_precision
from suite.contract.case import Case

GENERATOR = np.random.default_rng(0)
SHAPE = (64, 64)
INITIAL = {"layer0.weight": GENERATOR.standard_normal(SHAPE).astype(np.float32)}
GRADIENT = GENERATOR.standard_normal(SHAPE)
STEP = 1e-3 * np.sign(GRADIENT)


def _coarse(values: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16, ties away from zero."""
    bits = values.astype(np.float32).view(np.uint32) + np.uint32(0x8000)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def _evidence(
    loss: float = 1.0, gradient: np.ndarray = GRADIENT, parameter: np.ndarray | None = None
) -> Evidence:
    after = INITIAL["layer0.weight"] + STEP.astype(np.float32) if parameter is None else parameter
    return Evidence([loss, 0.5], {"layer0.weight": gradient}, {"layer0.weight": after})


ROUNDED = _coarse(GRADIENT).astype(float)
IN_BFLOAT16 = _coarse(_coarse(INITIAL["layer0.weight"]) + STEP)


@pytest.mark.parametrize(("dtype", "found", "caught"), [
    ("bf16", _evidence(1.001, ROUNDED), ""),
    ("tf32", _evidence(1.0001), ""),
    ("tf32", _evidence(1.005), "losses"),
    ("bf16", _evidence(1.05, ROUNDED), "losses"),
    ("bf16", _evidence(gradient=1.5 * ROUNDED), "gradient"),
    ("bf16", _evidence(gradient=ROUNDED, parameter=INITIAL["layer0.weight"]), "updates"),
    ("bf16", _evidence(gradient=ROUNDED, parameter=IN_BFLOAT16), "bfloat16 parameters"),
    ("bf16", _evidence(), "no bfloat16 rounding"),
    ("bf16", _evidence(float("nan"), ROUNDED), "losses"),
    ("bf16", Evidence([1.0, 0.5], {}, _evidence().parameters), "gradient"),
])
def test_bounds(dtype: str, found: Evidence, caught: str) -> None:
    verdict = check_precision(found, _evidence(), INITIAL, dtype)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason


HALF = GRADIENT.astype(np.float16).astype(float)


@pytest.mark.parametrize(("sent_as", "found", "caught"), [
    ("fp16", _evidence(gradient=HALF), ""),
    ("bf16", _evidence(gradient=ROUNDED), ""),
    ("fp16", _evidence(gradient=ROUNDED), "gradient"),
    ("bf16", _evidence(gradient=2 * ROUNDED), "gradient"),
    ("bf16", _evidence(gradient=1.006 * ROUNDED), "scale"),
    ("fp16", _evidence(gradient=1.001 * HALF), "scale"),
    ("fp16", _evidence(1.0001, HALF), "first loss"),
    ("fp16", _evidence(gradient=HALF, parameter=INITIAL["layer0.weight"]), "updates"),
    ("fp16", _evidence(), "no fp16 rounding"),
    ("fp16", Evidence([1.0, 0.51], *list(vars(_evidence(gradient=HALF)).values())[1:]), "losses"),
    ("fp16", Evidence([1.0, 0.5], {}, _evidence().parameters), "scale"),
])
def test_bounds_of_compressed_gradients(sent_as: str, found: Evidence, caught: str) -> None:
    verdict = check_compression(found, _evidence(), INITIAL, sent_as, 2)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason


def test_what_is_too_small_for_float16_is_allowed_for() -> None:
    tiny = 1e-7 * GRADIENT
    found = _evidence(gradient=tiny.astype(np.float16).astype(float))
    assert check_compression(found, _evidence(gradient=tiny), INITIAL, "fp16", 2).status == "ok"


# As long as the gradient, and along no part of it.
_RANDOM = GENERATOR.standard_normal(SHAPE)
ACROSS = _RANDOM - GRADIENT * (_RANDOM * GRADIENT).sum() / (GRADIENT**2).sum()
ACROSS *= np.linalg.norm(GRADIENT) / np.linalg.norm(ACROSS)
BEFORE = INITIAL["layer0.weight"].astype(float)


def _names(verdict: Verdict) -> str:
    """What left its bounds, without by how much."""
    failed = verdict.reason.partition("in bounds: ")[2]
    return ", ".join(part.rpartition(" by ")[0] for part in failed.split(", ") if part)


def _partly_coarse(share: float) -> np.ndarray:
    """Trained parameters, this share of them in bfloat16."""
    after = (BEFORE + STEP).astype(np.float32)
    count = round(share * after.size)
    after.ravel()[:count] = _coarse(after.ravel()[:count])
    return after


@pytest.mark.parametrize(("quantity", "bound", "planted"), [
    ("losses", 4 * 2.0**-8, lambda x: _evidence(1 + x, ROUNDED)),
    ("gradient", 0.25, lambda x: _evidence(gradient=GRADIENT + x * ACROSS)),
    ("updates", 0.4, lambda x: _evidence(gradient=ROUNDED, parameter=BEFORE + (1 + x) * STEP)),
    ("bfloat16 parameters", 0.05,
     lambda x: _evidence(gradient=ROUNDED, parameter=_partly_coarse(x))),
])
def test_each_bound_of_bfloat16_is_as_wide_as_the_documents_say(
    quantity: str, bound: float, planted: Callable[[float], Evidence]
) -> None:
    within, beyond = (check_precision(planted(share * bound), _evidence(), INITIAL, "bf16")
                      for share in (0.9, 1.1))
    assert within.status == "ok" and _names(beyond) == quantity, beyond
    # TF32 has eight times as many steps between two numbers, and parameters of its own format.
    if quantity == "losses":
        assert check_precision(planted(bound / 9), _evidence(), INITIAL, "tf32").status == "ok"
        assert check_precision(planted(bound / 7), _evidence(), INITIAL, "tf32").reason


def test_float32_is_told_from_bfloat16_by_how_little_its_gradient_differs() -> None:
    """Forty times a 64th of u is what bfloat16 differs by, a hundredth of it float32."""
    for share, said in ((0.9, "no bfloat16 rounding"), (1.1, "")):
        found = _evidence(gradient=GRADIENT + share * 2.0**-8 / 64 * ACROSS)
        assert _names(check_precision(found, _evidence(), INITIAL, "bf16")) == said


@pytest.mark.parametrize(("quantity", "bound", "planted"), [
    ("first loss", 1e-5, lambda x: _evidence(1 + x, HALF)),
    ("losses", 2.0**-11, lambda x: Evidence([1.0, 0.5 + 0.5 * x], *_arrays(HALF))),
    ("gradient", 3**0.5 * 2**0.5 * 2.0**-11, lambda x: _evidence(gradient=GRADIENT + x * ACROSS)),
    ("scale", 2.0**-11, lambda x: _evidence(gradient=(1 + x) * GRADIENT)),
    ("updates", 0.05, lambda x: _evidence(gradient=HALF, parameter=BEFORE + (1 + x) * STEP)),
])
def test_each_bound_of_gradients_sent_on_two_devices_is_as_wide_as_the_documents_say(
    quantity: str, bound: float, planted: Callable[[float], Evidence]
) -> None:
    within, beyond = (check_compression(planted(share * bound), _evidence(), INITIAL, "fp16", 2)
                      for share in (0.9, 1.1))
    assert within.status == "ok" and _names(beyond) == quantity, (within, beyond)


@pytest.mark.parametrize(("sent_as", "smallest", "roundoff"), [
    ("fp16", 2.0**-24, 2.0**-11), ("bf16", 2.0**-133, 2.0**-8),
])
def test_bounds_of_tiny_gradients_are_wider_by_what_their_format_loses(
    sent_as: str, smallest: float, roundoff: float
) -> None:
    """Entries of 5/3 of its smallest number lose up to half of that number, 0.3 of their size."""
    tiny = smallest / 2 / 0.3 * GRADIENT / np.sqrt((GRADIENT**2).mean())
    for quantity, bound, direction in (
        ("gradient", 3**0.5 * (2**0.5 * roundoff + 0.3), ACROSS),
        ("scale", roundoff + 0.3, GRADIENT),
    ):
        along = direction * np.linalg.norm(tiny) / np.linalg.norm(GRADIENT)
        for share, said in ((0.9, ""), (1.1, quantity)):
            found = check_compression(_evidence(gradient=tiny + share * bound * along),
                                      _evidence(gradient=tiny), INITIAL, sent_as, 2)
            assert _names(found) == said, found


def test_gradients_that_were_not_rounded_for_sending_are_told() -> None:
    for share, said in ((0.9, "no fp16 rounding"), (1.1, "")):
        found = _evidence(gradient=GRADIENT + share * 2.0**-11 / 64 * ACROSS)
        assert _names(check_compression(found, _evidence(), INITIAL, "fp16", 2)) == said


def _arrays(gradient: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    known = _evidence(gradient=gradient)
    return known.gradients, known.parameters


CASE = Case("pytorch", "torch", "data", "", "gpt", "tiny", "real", "cpu", 2)


@pytest.mark.parametrize(("changes", "first", "later"), [
    ({}, 1e-4, 0.05),
    ({"dtype": "bf16"}, 1e-4 + 4 * 2.0**-8, 0.05 + 4 * 2.0**-8),
    ({"dtype": "tf32"}, 1e-4 + 4 * 2.0**-11, 0.05 + 4 * 2.0**-11),
    # Its first loss comes before any gradient is sent.
    ({"variant": "fp16"}, 1e-4, 0.05 + 4 * 2.0**-11),
])
def test_losses_of_a_large_model_have_the_caps_and_the_formats_roundings(
    changes: dict[str, str], first: float, later: float
) -> None:
    case, single = replace(CASE, **changes), [2.0, 1.0]
    for share, said in ((0.9, ""), (1.1, "first loss")):
        assert said in check_losses([2.0 * (1 + share * first), 1.0], single, case).reason
    for share, said in ((0.9, ""), (1.1, "losses")):
        assert said == _names(check_losses([2.0, 1 + share * later], single, case))


def test_of_a_model_that_no_device_holds_losses_are_finite_and_no_more_is_known() -> None:
    assert check_losses([2.0, 1.0], [], CASE).status == "ok"
    verdict = check_losses([2.0, float("nan")], [], CASE)
    assert verdict.status == "failed" and "NaN" in verdict.reason


def test_what_is_just_at_its_bound_passes_and_is_not_named() -> None:
    """A loss of 1 + 4u is, in TF32, exactly."""
    at = check_precision(_evidence(1 + 4 * 2.0**-11), _evidence(), INITIAL, "tf32")
    assert (at.status, at.error) == ("ok", 1.0)
    both = _evidence(1 + 4 * 2.0**-11, gradient=2 * GRADIENT)
    assert _names(check_precision(both, _evidence(), INITIAL, "tf32")) == "gradient"


def test_of_a_tiny_model_every_entry_counts_once() -> None:
    initial = {"w": np.array([0.1, 0.2], np.float32)}

    def trained(after: list[float]) -> Evidence:
        return Evidence([1.0, 0.5], {"w": np.array([1.0, -1.0]) * (1 + 2.0**-8)},
                        {"w": np.array(after, np.float32)})

    parameters = trained([0.101, 0.199]).parameters
    reference = Evidence([1.0, 0.5], {"w": np.array([1.0, -1.0])}, parameters)
    assert check_precision(trained([0.101, 0.199]), reference, initial, "bf16").status == "ok"
    # 0.125 is a bfloat16; what did not move says nothing of the format.
    for after, said in (([0.125, 0.199], True), ([0.101, 0.2], False), ([0.1, 0.2], True)):
        reason = check_precision(trained(after), reference, initial, "bf16").reason
        assert ("bfloat16 parameters" in reason) == said, after
    # Of what did not train at all everything counts as kept in bfloat16: 1 is twenty bounds of 5 %.
    assert "bfloat16 parameters by 20" in reason


def test_half_of_the_smallest_number_is_lost_to_underflow() -> None:
    # bfloat16 has the first half of float32's bits.
    smallest = np.array([1 << 16], np.uint32).view(np.float32)[0]
    half = float(np.finfo(np.float16).smallest_subnormal) / 2
    assert {"bf16": float(smallest) / 2, "fp16": half} == UNDERFLOW
