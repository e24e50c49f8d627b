"""The bounds of TF32 and bfloat16 let rounding through and catch planted mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from suite.analysis.parity import Evidence
from suite.analysis.rounding import check_compression, check_precision

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
