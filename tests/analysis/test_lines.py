"""Straight lines by least squares of relative errors, held against NumPy's own weighted fit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from suite.analysis.lines import FEWEST_SIZES, fit_lines, heldout_errors

SIZES = 4.0 ** np.arange(1, 11)


def _noisy(seed: int, rows: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0.8, 1.25, (rows, len(SIZES)))
    return (2e-4 + 5e-9 * SIZES) * noise


def _polyfit(sizes: np.ndarray, seconds: np.ndarray) -> tuple[float, float, float]:
    """Intercept, slope and summed squared relative error; a line that falls is level instead."""
    slope, intercept = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    if slope < 0:
        slope, intercept = 0.0, np.sum(1 / seconds) / np.sum(1 / seconds**2)
    error = ((intercept + slope * sizes - seconds) / seconds) ** 2
    return intercept, slope, error.sum()


def test_one_line_is_the_weighted_fit_of_each_row() -> None:
    seconds = _noisy(1)
    lines = fit_lines(SIZES, seconds, 1)
    for row, taken in enumerate(seconds):
        intercept, slope, _ = _polyfit(SIZES, taken)
        assert lines.intercepts[row] == pytest.approx([intercept], rel=1e-6)
        assert lines.slopes[row] == pytest.approx([slope], rel=1e-6)
    assert lines.slopes.shape == (3, 1) and (lines.breaks == -np.inf).all()
    assert lines.at(0.0) == pytest.approx(lines.intercepts[:, 0])


@pytest.mark.parametrize("seed", range(4))
def test_two_lines_are_the_best_of_all_cuts_that_leave_three_sizes(seed: int) -> None:
    seconds = _noisy(seed)
    lines = fit_lines(SIZES, seconds, 2)
    for row, taken in enumerate(seconds):
        cuts = range(FEWEST_SIZES, len(SIZES) - FEWEST_SIZES + 1)
        sides = {cut: (_polyfit(SIZES[:cut], taken[:cut]), _polyfit(SIZES[cut:], taken[cut:]))
                 for cut in cuts}
        best = min(cuts, key=lambda cut: sides[cut][0][2] + sides[cut][1][2])
        for piece in (0, 1):
            assert lines.intercepts[row, piece] == pytest.approx(sides[best][piece][0], rel=1e-4)
            assert lines.slopes[row, piece] == pytest.approx(sides[best][piece][1], rel=1e-4)
        assert lines.breaks[row] == pytest.approx(np.sqrt(SIZES[best - 1] * SIZES[best]))


@pytest.mark.parametrize("cut", [FEWEST_SIZES, len(SIZES) - FEWEST_SIZES])
def test_a_jump_is_found_as_near_to_either_end_as_three_sizes(cut: int) -> None:
    below, above = 1e-4 + 1e-9 * SIZES, 7e-3 + 4e-9 * SIZES
    seconds = np.where(np.arange(len(SIZES)) < cut, below, above)[None]
    lines = fit_lines(SIZES, seconds, 2)
    assert lines.intercepts[0] == pytest.approx([1e-4, 7e-3], rel=1e-6)
    assert lines.slopes[0] == pytest.approx([1e-9, 4e-9], rel=1e-6)
    # At the break the second line holds.
    at = lines.breaks[0]
    assert lines.at(at)[0] == pytest.approx(7e-3 + 4e-9 * at)
    assert lines.at(np.nextafter(at, 0))[0] == pytest.approx(1e-4 + 1e-9 * at)


def test_of_an_exact_line_nothing_is_left_over() -> None:
    for pieces, seconds in product((1, 2), (3e-4 + 2e-9 * SIZES, 5e-9 * SIZES)):
        assert heldout_errors(SIZES, seconds, pieces) == pytest.approx(0.0, abs=1e-9)


def test_a_size_is_foretold_by_the_others_alone() -> None:
    """What is 50 % too long is a third below itself on the line of the others."""
    seconds = 3e-4 + 2e-9 * SIZES
    seconds[4] *= 1.5
    errors = heldout_errors(SIZES, seconds, 1)
    assert len(errors) == len(SIZES) and errors[4] == pytest.approx(1 / 3)
    others = np.arange(len(SIZES)) != 7
    intercept, slope, _ = _polyfit(SIZES[others], seconds[others])
    assert errors[7] == pytest.approx(abs(intercept + slope * SIZES[7] - seconds[7]) / seconds[7])


def test_a_byte_never_takes_less_than_no_time() -> None:
    """A copy that hands its tensor over, where noise made the largest size the shortest."""
    seconds = np.full((1, len(SIZES)), 2e-6)
    seconds[0, -1] = 1.9e-6
    lines = fit_lines(SIZES, seconds, 1)
    assert lines.slopes[0, 0] == 0.0
    assert 1.9e-6 < lines.intercepts[0, 0] < 2e-6 and lines.at(SIZES[-1])[0] > 0
