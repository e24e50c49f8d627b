"""Fits straight lines to times over sizes, by least squares of relative errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST_SIZES = 3  # a line needs this many sizes


@dataclass(frozen=True)
class Lines:
    """Fits of several rows of seconds at once.

    Attributes:
        intercepts: (rows, pieces) seconds.
        slopes: (rows, pieces) seconds per byte.
        breaks: (rows,) bytes at which the second piece begins; -inf if there is one piece.
    """

    intercepts: np.ndarray
    slopes: np.ndarray
    breaks: np.ndarray

    def at(self, size: float) -> np.ndarray:
        """Returns the seconds of a payload on every row's line, (rows,)."""
        piece = np.where(size < self.breaks, 0, self.slopes.shape[1] - 1)
        rows = np.arange(len(self.slopes))
        return self.intercepts[rows, piece] + self.slopes[rows, piece] * size


def fit_lines(sizes: np.ndarray, seconds: np.ndarray, pieces: int) -> Lines:
    """Fits one or two lines to every row by least squares of relative errors.

    With two pieces the breakpoint is tried between any two sizes that leave three on each side, at
    their geometric mean, and the one with the smallest error is kept.

    Args:
        sizes: (sizes,) payload bytes, rising.
        seconds: (rows, sizes) seconds.
        pieces: 1 or 2.
    """
    whole = _moments(sizes, seconds)[:, -1]
    if pieces == 1:
        intercept, slope, _ = _solve(whole)
        return Lines(intercept[:, None], slope[:, None], np.full(len(seconds), -np.inf))
    heads = _moments(sizes, seconds)[:, FEWEST_SIZES - 1 : -FEWEST_SIZES]
    # These are summed from the far end, because subtracting from the whole would cancel digits.
    tails = _moments(sizes[::-1], seconds[:, ::-1])[:, ::-1][:, FEWEST_SIZES : -FEWEST_SIZES + 1]
    below, above = _solve(heads), _solve(tails)
    best = np.argmin(below[2] + above[2], axis=1)
    rows = np.arange(len(seconds))
    cut = best + FEWEST_SIZES
    return Lines(
        np.stack([below[0][rows, best], above[0][rows, best]], axis=1),
        np.stack([below[1][rows, best], above[1][rows, best]], axis=1),
        np.sqrt(sizes[cut - 1] * sizes[cut]),
    )


def _moments(sizes: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns running sums of w, wx, wxx, wy, wxy and wyy with w = 1/y²: (rows, sizes, 6)."""
    w, x = seconds**-2.0, np.broadcast_to(sizes, seconds.shape)
    terms = [w, w * x, w * x * x, 1.0 / seconds, x / seconds, np.ones_like(w)]
    return np.cumsum(np.stack(terms, axis=-1), axis=1)


def _solve(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns intercept, slope and squared error of the lines with these sums.

    No byte takes less than no time, so a slope that noise would make negative is 0, and the line
    level: a copy that only hands its tensor over takes as long for any size.
    """
    w, wx, wxx, wy, wxy, wyy = np.moveaxis(moments, -1, 0)
    slope = np.maximum((w * wxy - wx * wy) / (w * wxx - wx * wx), 0.0)
    intercept = (wy - slope * wx) / w
    return intercept, slope, np.maximum(wyy - intercept * wy - slope * wxy, 0.0)


def heldout_errors(sizes: np.ndarray, fastest: np.ndarray, pieces: int) -> np.ndarray:
    """Returns the relative error of each size as predicted by a fit of all the others, (sizes,).

    Args:
        sizes: (sizes,) payload bytes, rising.
        fastest: (sizes,) seconds of each size.
        pieces: Number of lines, 1 or 2.
    """
    errors = []
    for left_out, (size, actual) in enumerate(zip(sizes, fastest, strict=True)):
        others = np.arange(len(sizes)) != left_out
        lines = fit_lines(sizes[others], fastest[None, others], pieces)
        errors.append(abs(lines.at(size)[0] - actual) / actual)
    return np.asarray(errors)
