"""One published figure beside its prediction, and how well a table of them was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Times whose largest is within this factor of the smallest have no order.
ALIKE = 1.1
FEWEST_IN_ORDER = 4


@dataclass(frozen=True)
class Figure:
    """A published figure and what was predicted for it.

    Attributes:
        source: Where it was published.
        quantity: What it is, such as ``step time``.
        model: The model it is of; configurations of one model are ranked among each other.
        published: The figure.
        predicted: The prediction.
        baseline: What the simplest rule says; NaN where there is none.
        low: Lower end of the prediction's 90 % interval; NaN without one.
        high: Upper end.
    """

    source: str
    quantity: str
    model: str
    published: float
    predicted: float
    baseline: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.published - 1.0

    @property
    def baseline_error(self) -> float:
        """Relative error of the baseline."""
        return self.baseline / self.published - 1.0


@dataclass(frozen=True)
class Verdict:
    """How well the figures of one source were predicted; errors are means of absolute values.

    Attributes:
        source: The source.
        quantity: What was predicted.
        judged: Number of figures.
        error: Mean absolute relative error of the predictions.
        baseline_error: The same of the baseline; NaN without one.
        rank_correlation: Spearman's, of configurations within a model; NaN where none has an order.
        coverage: Share of figures inside the 90 % interval; NaN without intervals.
        goal: The error aimed at; NaN without a goal.
    """

    source: str
    quantity: str
    judged: int
    error: float
    baseline_error: float
    rank_correlation: float
    coverage: float
    goal: float

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if np.isnan(self.goal) else self.error <= self.goal


def verdict(figures: Sequence[Figure], goal: float = float("nan")) -> Verdict:
    """Sums up the figures of one source and quantity."""
    inside = [f.low <= f.published <= f.high for f in figures if not np.isnan(f.low)]
    return Verdict(
        figures[0].source, figures[0].quantity, len(figures),
        error=float(np.mean([abs(f.error) for f in figures])),
        baseline_error=float(np.mean([abs(f.baseline_error) for f in figures])),
        rank_correlation=rank_correlation(figures),
        coverage=float(np.mean(inside)) if inside else float("nan"), goal=goal,
    )


def rank_correlation(figures: Sequence[Figure]) -> float:
    """Spearman's rank correlation within each model, its mean weighted by configurations.

    Models with fewer than four configurations, or whose configurations take equally long as in
    weak scaling, do not count; NaN if none counts.
    """
    from scipy.stats import spearmanr  # it takes a second that no prediction has to wait for

    total, weight = 0.0, 0
    for model in dict.fromkeys(figure.model for figure in figures):
        mine = [figure for figure in figures if figure.model == model]
        published = [figure.published for figure in mine]
        predicted = [figure.predicted for figure in mine]
        ordered = len(mine) >= FEWEST_IN_ORDER and max(published) > ALIKE * min(published)
        if ordered and max(predicted) > min(predicted):
            total += len(mine) * float(spearmanr(predicted, published).statistic)
            weight += len(mine)
    return total / weight if weight else float("nan")
