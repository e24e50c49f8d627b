"""Judges predicted steps on published tables: few rows calibrate, never of the judged model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from suite.foresight.figures import Figure
from suite.foresight.fitting import Posterior, Predictor, calibrated, from_datasheet
from suite.foresight.machine import Software, Stack
from suite.foresight.plans import plans_of
from suite.foresight.predict import predict
from suite.foresight.published import Published, model_of
from suite.foresight.units import Array, training_flops

MOST_ROWS = 10
STEP = "step time"
# Share of the peak where no row calibrates the baseline.
USUAL_UTILISATION = 0.45


def step_predictor(rows: Sequence[Published]) -> Predictor:
    """Seconds of the rows' steps as a function of the stack, each with its own software."""
    model, plans = model_of(rows), plans_of(row.plan for row in rows)
    software = software_of(rows)

    def seconds(stack: Stack) -> Array:
        return predict(model, plans, replace(stack, software=software)).step_s

    return seconds


def software_of(rows: Sequence[Published]) -> Software:
    """What the rows' programs do: a number where all do the same, else one for each row."""
    columns: dict[str, Any] = {}
    for one in fields(Software):
        values = [getattr(row.program.base.software, one.name) for row in rows]
        columns[one.name] = values[0] if len(set(values)) == 1 else np.array(values)
    return Software(**columns)


def features(rows: Sequence[Published]) -> Array:
    """What tells configurations apart, as logarithms; no measured value is among them."""
    columns = [
        [float(r.shape.hidden) for r in rows], [float(r.shape.layers) for r in rows],
        [float(r.shape.sequence) for r in rows], [r.plan.shards for r in rows],
        [r.plan.stages for r in rows], [r.plan.replicas for r in rows],
        [r.plan.micro_batch for r in rows], [r.plan.micro_batches for r in rows],
    ]
    return np.asarray(np.log(np.array(columns, dtype=float)).T)


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


def peak_seconds(rows: Sequence[Published]) -> Array:
    """Seconds that the model's FLOPs would take at the devices' peak: the baseline's only term."""
    plans = plans_of(row.plan for row in rows)
    flops = training_flops(model_of(rows)) * plans.global_batch
    peaks = np.array([r.program.base.device.peak(r.program.base.dtype) for r in rows])
    return np.asarray(flops / plans.devices / peaks)


def judge_stack(rows: Sequence[Published]) -> list[Figure]:
    """Predicts every row that calibrates nothing, each without the rows of its own model."""
    chosen = calibration_rows(rows)
    found: list[Figure] = []
    for model in dict.fromkeys(row.model for row in rows):
        judged = [r for i, r in enumerate(rows) if r.model == model and i not in chosen]
        mine = [rows[i] for i in chosen if rows[i].model != model]
        if judged:
            found += predict_rows(judged, mine)
    return found


def predict_rows(judged: Sequence[Published], mine: Sequence[Published]) -> list[Figure]:
    """Predictions of ``judged`` after calibration on ``mine``.

    Raises:
        ValueError: If a model is on both sides, or more than ten rows calibrate.
    """
    check_split(judged, mine)
    base, predictor = judged[0].program.base, step_predictor(judged)
    posterior: Posterior = from_datasheet(base)
    used = USUAL_UTILISATION
    if mine:
        measured = [row.seconds for row in mine]
        posterior = calibrated(base, step_predictor(mine), measured)
        used = float(np.exp(np.median(np.log(peak_seconds(mine) / np.array(measured)))))
    seconds = predictor(posterior.stack)
    low, high = posterior.interval(predictor)
    columns = zip(judged, seconds, peak_seconds(judged) / used, low, high, strict=True)
    return [Figure(row.source, STEP, row.model, row.seconds, *map(float, values))
            for row, *values in columns]


def check_split(judged: Sequence[Published], mine: Sequence[Published]) -> None:
    """Refuses a calibration that has seen the model it is judged on.

    Raises:
        ValueError: If a model is on both sides, or more than ten rows calibrate.
    """
    shared = {row.model for row in judged} & {row.model for row in mine}
    if shared or len(mine) > MOST_ROWS:
        raise ValueError(f"{len(mine)} calibration rows share the models {sorted(shared)}")


def judge_transfer(
    rows: Sequence[Published], calibrating: str, judged: str
) -> list[Figure]:
    """Calibrates on at most ten rows of one source and predicts all of another.

    It asks whether what was learnt on one node holds for many. Models are never on both sides.
    """
    mine = [row for row in rows if row.source == calibrating]
    others = [row for row in rows if row.source == judged]
    chosen = [mine[i] for i in calibration_rows(mine)]
    figures = predict_rows(others, chosen)
    return [Figure(**{**f.__dict__, "quantity": f"{STEP}, calibrated on {calibrating}"})
            for f in figures]
