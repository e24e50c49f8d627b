"""Finds where a series of runs changes its level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from suite.analysis.statistics import LEVEL

# With fewer values even the rarest order is not rare enough: 2 / C(7, 3) is above 5 %.
FEWEST_RUNS = 8
PERMUTATIONS = 4999


def change_points(values: Sequence[float], level: float = LEVEL) -> list[int]:
    """Finds the runs at which a new level begins.

    Pettitt's statistic (1979) is the largest difference between the rank sum of a beginning and
    what is expected of it. It is compared with that of random orders of the same values, so
    nothing is assumed about their distribution. Then both sides of a change are searched in turn.

    Args:
        values: One value for each run, in order.
        level: Confidence with which a change is told.

    Returns:
        Indexes of the first run of each new level, in order; none with fewer than ``FEWEST_RUNS``
        values.
    """
    change = _clearest_change(np.asarray(values, float), level)
    if change is None:
        return []
    left = change_points(values[:change], level)
    right = change_points(values[change:], level)
    return [*left, change, *(change + index for index in right)]


def _clearest_change(values: np.ndarray, level: float) -> int | None:
    """Returns the index at which the level changes most clearly; None if chance explains it."""
    if len(values) < FEWEST_RUNS:
        return None
    ranks = stats.rankdata(values)
    test = stats.permutation_test(
        (ranks,), lambda x, axis: np.abs(_pettitt(x, axis)).max(axis=axis), vectorized=True,
        permutation_type="pairings", n_resamples=PERMUTATIONS, alternative="greater",
        rng=np.random.default_rng(0),
    )
    if test.pvalue > 1 - level:
        return None
    distances = np.abs(_pettitt(ranks, -1))
    # A value of middle rank fits either side equally well, so the values themselves decide.
    places = np.flatnonzero(distances == distances.max()) + 1
    return int(min(places, key=lambda place: _spread(values[:place]) + _spread(values[place:])))


def _spread(values: np.ndarray) -> float:
    """Returns the sum of squares about the mean."""
    return float(((values - values.mean()) ** 2).sum())


def _pettitt(ranks: np.ndarray, axis: int) -> np.ndarray:
    """Returns U_t = 2 (r_1 + … + r_t) - t (n + 1) for t = 1 to n - 1, along ``axis``."""
    n = ranks.shape[axis]
    moved = np.moveaxis(ranks, axis, -1)
    u = 2 * np.cumsum(moved, axis=-1) - np.arange(1, n + 1) * (n + 1)
    return np.moveaxis(u[..., :-1], -1, axis)
