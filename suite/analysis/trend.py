"""Where a series of runs changes its level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from suite.analysis.statistics import LEVEL

# Fewer have no order so rare that it could be told from chance: 2 / C(7, 3) is above 5 %.
FEWEST_RUNS = 8
PERMUTATIONS = 4999


def change_points(values: Sequence[float], level: float = LEVEL) -> list[int]:
    """Indexes at which a new level begins, in order; a run is one value.

    Pettitt's statistic (1979), the largest rank sum of a beginning against its expectation, is
    held against random orders of the same values, so nothing is assumed of their distribution;
    then both sides are searched in turn. Fewer than ``FEWEST_RUNS`` values have no change.
    """
    found = _one(np.asarray(values, float), level)
    if found is None:
        return []
    left = change_points(values[:found], level)
    right = change_points(values[found:], level)
    return [*left, found, *(found + index for index in right)]


def _one(values: np.ndarray, level: float) -> int | None:
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
    # A value of middle rank fits either side as well; the values themselves tell.
    places = np.flatnonzero(distances == distances.max()) + 1
    return int(min(places, key=lambda place: _spread(values[:place]) + _spread(values[place:])))


def _spread(values: np.ndarray) -> float:
    """Sum of squares about the mean."""
    return float(((values - values.mean()) ** 2).sum())


def _pettitt(ranks: np.ndarray, axis: int) -> np.ndarray:
    """U_t = 2 (r_1 + … + r_t) - t (n + 1) for t = 1 to n - 1."""
    n = ranks.shape[axis]
    moved = np.moveaxis(ranks, axis, -1)
    u = 2 * np.cumsum(moved, axis=-1) - np.arange(1, n + 1) * (n + 1)
    return np.moveaxis(u[..., :-1], -1, axis)
