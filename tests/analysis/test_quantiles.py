"""Quantiles without SciPy are SciPy's own, to thirteen digits."""

from __future__ import annotations

import sys

import pytest
from scipy import special

from suite.analysis.quantiles import MOST_DEGREES, chi_square_median, student_t

LEVELS = (0.01, 0.5, 0.9, 0.95, 1 - 0.05 / 15, 1 - 0.05 / 10_000, 1 - 1e-9)


@pytest.mark.parametrize("degrees", [*range(1, 40), 99, 100, MOST_DEGREES, 500, 2.5, 7.25])
def test_student_t_is_scipys(degrees: float) -> None:
    """Close to 1 a level itself has few digits left: its rounding is a share of what is beyond."""
    for level in LEVELS:
        digits = 1e-13 + 1e-15 / (1 - level)
        expected = float(special.stdtrit(degrees, (1 + level) / 2))
        assert student_t(degrees, level) == pytest.approx(expected, rel=digits), level


@pytest.mark.parametrize("degrees", [*range(1, 40), 99, 100, MOST_DEGREES, 500])
def test_the_median_of_chi_square_is_scipys(degrees: int) -> None:
    expected = 2 * float(special.gammaincinv(degrees / 2, 0.5))
    assert chi_square_median(degrees) == pytest.approx(expected, rel=1e-13)


def test_whole_degrees_need_no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    student_t.cache_clear()
    chi_square_median.cache_clear()
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert student_t(2, 0.95) == pytest.approx(4.30265272975)
    assert chi_square_median(2) == pytest.approx(1.38629436112)
    with pytest.raises(ImportError):
        student_t(2.5, 0.95)
