"""Judges the model on published tables: few rows calibrate, never of the model that is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import KMeans

from suite.foresight.fitting import Posterior, Predictor, calibrated, from_datasheet
from suite.foresight.machine import Stack
from suite.foresight.plans import plans_of
from suite.foresight.predict import predict
from suite.foresight.published import Published, model_of
from suite.foresight.units import Array, training_flops

MOST_ROWS = 10
# Times whose largest is within this factor of the smallest have no order.
ALIKE = 1.1


def step_predictor(rows: Sequence[Published]) -> Predictor:
    """Seconds of the rows' steps as a function of the stack."""
    model, plans = model_of(rows), plans_of(row.plan for row in rows)

    def seconds(stack: Stack) -> Array:
        return predict(model, plans, stack).step_s

    return seconds


def features(rows: Sequence[Published]) -> Array:
    """What tells configurations apart, as logarithms; no measured value is among them."""
    columns = [
        [float(r.shape.hidden) for r in rows], [float(r.shape.layers) for r in rows],
        [float(r.shape.sequence) for r in rows], [r.plan.shards for r in rows],
        [r.plan.stages for r in rows], [r.plan.replicas for r in rows],
        [r.plan.micro_batch for r in rows], [r.plan.micro_batches for r in rows],
    ]
    return np.log(np.array(columns, dtype=float)).T


def calibration_rows(rows: Sequence[Published]) -> list[int]:
    """Which rows of a stack calibrate it: at most ten, at most half, typical ones of all kinds.

    The rule sees configurations only: k-means groups them, and of each group the row nearest to
    its middle is taken.
    """
    wanted = min(MOST_ROWS, max(2, len(rows) // 2), len(rows))
    points = features(rows)
    scale = points.std(axis=0)
    points = (points - points.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    wanted = min(wanted, len(np.unique(points, axis=0)))
    groups = KMeans(wanted, n_init=4, random_state=0).fit(points)
    distances = groups.transform(points)
    return sorted({int(distances[:, group].argmin()) for group in range(wanted)})


@dataclass(frozen=True)
class Judged:
    """One row that was predicted without its model.

    Attributes:
        row: The published step.
        predicted_s: Seconds of the prediction.
        low_s: Lower end of its 90 % interval.
        high_s: Upper end.
        constant_s: Seconds by constant utilisation, calibrated on the same rows.
        calibrated_by: How many rows calibrated it; 0 by the datasheet alone.
    """

    row: Published
    predicted_s: float
    low_s: float
    high_s: float
    constant_s: float
    calibrated_by: int

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_s / self.row.seconds - 1.0

    @property
    def constant_error(self) -> float:
        """Relative error of the constant-utilisation baseline."""
        return self.constant_s / self.row.seconds - 1.0


def peak_seconds(rows: Sequence[Published]) -> Array:
    """Seconds that the model's FLOPs would take at the devices' peak: the baseline's only term."""
    plans = plans_of(row.plan for row in rows)
    flops = training_flops(model_of(rows)) * plans.global_batch
    peaks = np.array([r.program.base.device.peak(r.program.base.dtype) for r in rows])
    return np.asarray(flops / plans.devices / peaks)


def judge_stack(rows: Sequence[Published]) -> list[Judged]:
    """Predicts every row that calibrates nothing, each without the rows of its own model."""
    chosen = calibration_rows(rows)
    found: list[Judged] = []
    for model in dict.fromkeys(row.model for row in rows):
        judged = [r for i, r in enumerate(rows) if r.model == model and i not in chosen]
        mine = [rows[i] for i in chosen if rows[i].model != model]
        if judged:
            found += predict_rows(judged, mine)
    return found


def predict_rows(judged: Sequence[Published], mine: Sequence[Published]) -> list[Judged]:
    """Predictions of ``judged`` after calibration on ``mine``."""
    assert_split(judged, mine)
    base, predictor = judged[0].program.base, step_predictor(judged)
    posterior: Posterior = from_datasheet(base)
    used = 0.45
    if mine:
        measured = [row.seconds for row in mine]
        posterior = calibrated(base, step_predictor(mine), measured)
        used = float(np.exp(np.median(np.log(peak_seconds(mine) / np.array(measured)))))
    seconds = predictor(posterior.stack)
    low, high = posterior.interval(predictor)
    constant = peak_seconds(judged) / used
    figures = zip(judged, seconds, low, high, constant, strict=True)
    return [Judged(row, *map(float, values), len(mine)) for row, *values in figures]


def assert_split(judged: Sequence[Published], mine: Sequence[Published]) -> None:
    """Refuses a calibration that has seen the model it is judged on.

    Raises:
        ValueError: If a model is on both sides, or more than ten rows calibrate.
    """
    shared = {row.model for row in judged} & {row.model for row in mine}
    if shared or len(mine) > MOST_ROWS:
        raise ValueError(f"{len(mine)} calibration rows share the models {sorted(shared)}")


def mean_error(errors: Sequence[float]) -> float:
    """Mean of the absolute relative errors."""
    return float(np.mean(np.abs(errors)))


def rank_correlation(judged: Sequence[Judged]) -> float:
    """Spearman's rank correlation of step times within each model, mean weighted by rows.

    Models with fewer than four configurations, or whose configurations take equally long as in
    weak scaling, do not count; NaN if none counts.
    """
    total, weight = 0.0, 0
    for model in dict.fromkeys(one.row.model for one in judged):
        mine = [one for one in judged if one.row.model == model]
        times = [one.row.seconds for one in mine]
        if len(mine) >= 4 and max(times) > ALIKE * min(times):
            total += len(mine) * float(spearmanr([m.predicted_s for m in mine],
                                                 times).statistic)
            weight += len(mine)
    return total / weight if weight else float("nan")


def coverage(judged: Sequence[Judged]) -> float:
    """Share of measured values inside the 90 % interval."""
    return float(np.mean([one.low_s <= one.row.seconds <= one.high_s for one in judged]))
