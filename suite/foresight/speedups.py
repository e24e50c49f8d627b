"""Judges speedups of image models over one device: data parallel, and pipelines."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares, minimize_scalar

from suite.foresight.collectives import all_reduce_seconds
from suite.foresight.figures import Figure
from suite.foresight.machine import Link
from suite.foresight.pipeline import pipeline_seconds
from suite.foresight.published import Row, table
from suite.foresight.units import Array

# Public figures of the models: forward FLOPs of an image, parameters (Canziani et al. 2016; He et
# al. 2016; Szegedy et al. 2016, with its auxiliary classifier; Krizhevsky 2012; Simonyan 2015).
IMAGES: dict[str, tuple[float, float]] = {
    "AlexNet": (1.43e9, 61e6), "VGG16": (31e9, 138.4e6), "VGG-16": (31e9, 138.4e6),
    "ResNet-50": (8.2e9, 25.6e6), "ResNet-101": (15.7e9, 44.5e6), "ResNet-152": (23.1e9, 60.2e6),
    "InceptionV3": (11.4e9, 27.2e6), "Inception V3": (11.4e9, 27.2e6),
}
GRADIENT_BYTES = 4.0
# A K80 device and a P100 in float32, in FLOPs a second.
PEAKS = {"K80": 4.1e12, "P100": 10.6e12}
# Prior of a training step on them: share of the peak, bandwidth of a shared PCIe or NVLink tree,
# and the share of the gradients' reduction that the backward pass does not hide.
STARTS = np.log([0.45, 8e9, 0.5])
SPREADS = np.array([0.3, 0.7, 0.4])
MODEL_ERROR = 0.03
# Gradients and activations: backward takes twice as long as forward.
FORWARD, BACKWARD = 1.0 / 3.0, 2.0 / 3.0


def judge_data_parallel() -> list[Figure]:
    """Speedups of TensorFlow's image models over one device; the baseline is linear speedup.

    Constants of a table are calibrated on the speedups of its other models, at most ten.
    """
    rows = [row for row in table() if row["source"].startswith("TensorFlow benchmarks")]
    found: list[Figure] = []
    for name in dict.fromkeys(row["table"] for row in rows):
        mine = [(row, speedup) for row in rows if row["table"] == name
                for speedup in [_speedup(row, rows)] if speedup]
        for model in dict.fromkeys(row["model"] for row, _ in mine):
            others = [one for one in mine if one[0]["model"] != model]
            judged = [one for one in mine if one[0]["model"] == model]
            found += _data_figures(judged, others[:: max(1, -(-len(others) // 10))])
    return found


def _speedup(row: Row, rows: Sequence[Row]) -> float | None:
    alone = [one for one in rows if one["table"] == row["table"] and one["gpus"] == "1"
             and one["model"] == row["model"] and one["micro_batch"] == row["micro_batch"]]
    same = [one for one in alone if one["note"] == row["note"]] or alone
    if row["gpus"] == "1" or not same or row["model"] not in IMAGES:
        return None
    return float(row["value"]) / float(same[0]["value"])


def data_parallel_speedup(row: Row, theta: Array) -> float:
    """n t / (t + exposed): compute by FLOPs, gradients all-reduced, a share of it exposed."""
    flops, parameters = IMAGES[row["model"]]
    devices, share = float(row["gpus"]), np.exp(theta)
    peak = next(rate for name, rate in PEAKS.items() if row["hardware"].startswith(name))
    compute = 3.0 * flops * float(row["micro_batch"]) / (share[0] * peak)
    reduced = all_reduce_seconds(parameters * GRADIENT_BYTES, devices, Link(5e-5, share[1]))
    return float(devices * compute / (compute + np.minimum(share[2], 1.0) * reduced))


def _data_figures(
    judged: Sequence[tuple[Row, float]], mine: Sequence[tuple[Row, float]]
) -> list[Figure]:
    def distance(theta: Array) -> Array:
        errors = [np.log(data_parallel_speedup(row, theta) / value) / MODEL_ERROR
                  for row, value in mine]
        return np.array([*errors, *(theta - STARTS) / SPREADS])

    theta = least_squares(distance, STARTS).x
    return [Figure(row["source"], "data-parallel speedup", f"{row['table']} {row['model']}",
                   value, data_parallel_speedup(row, theta), float(row["gpus"]))
            for row, value in judged]


def judge_pipelines() -> list[Figure]:
    """Speedups of torchgpipe's and GPipe's pipelines; the baseline is the ideal bubble alone.

    One constant is calibrated on the pipelines of other models: by how much the slowest stage
    exceeds the mean.
    """
    rows = [row for row in table() if row["source"].startswith(("torchgpipe speed", "GPipe"))]
    known = [(row, value) for row in rows for value in [_pipeline_speedup(row, rows)] if value]
    found: list[Figure] = []
    for source, model in dict.fromkeys((row["source"], row["model"]) for row, _ in known):
        mine = [one for one in known if one[0]["source"] == source and one[0]["model"] != model]
        excess = _uneven(mine[:10])
        found += [
            Figure(source, "pipeline speedup", model, value,
                   relative_speed(row, excess), relative_speed(row, 0.0))
            for row, value in known if (row["source"], row["model"]) == (source, model)
        ]
    return found


def _reference(row: Row) -> tuple[int, int]:
    """Stages and micro-batches of what a speedup is over: one device, or n=2, m=1."""
    return (2, 1) if row["model"].startswith("AmoebaNet") else (1, 0)


def _split(row: Row) -> tuple[int, int]:
    chunks = re.search(r"chunks (\d+)", row["note"]) or re.search(r"(\d+) micro-b", row["note"])
    return int(row["pp"]), int(chunks.group(1)) if chunks else 0


def _pipeline_speedup(row: Row, rows: Sequence[Row]) -> float | None:
    stages, parts = _split(row)
    if not parts or (stages, parts) == _reference(row):
        return None
    if row["metric"] == "speedup":
        return float(row["value"])
    base = [one for one in rows if one["table"] == row["table"] and _split(one) == _reference(row)]
    return float(row["value"]) / float(base[0]["value"]) if base else None


def time_of(stages: int, parts: int, excess: float) -> float:
    """Time of a batch over that of one device without recomputation.

    Every micro-batch but the last is computed forward a second time (torchgpipe's
    ``except_last``); with a single one all is. The slowest stage is ``1 + excess (p - 1) / p``
    times the mean.
    """
    if not parts:
        return 1.0
    share = 1.0 / stages / parts
    factors = np.ones((1, stages))
    if stages > 1:
        slow = 1.0 + excess * (stages - 1.0) / stages
        factors[:] = (stages - slow) / (stages - 1.0)
        factors[0, stages // 2] = slow
    again = FORWARD * (1.0 if parts == 1 else (parts - 1.0) / parts)
    forward = FORWARD * share * factors
    backward = (BACKWARD + again) * share * factors
    return float(pipeline_seconds("gpipe", forward, backward, np.zeros(1), parts)[0])


def relative_speed(row: Row, excess: float) -> float:
    """The predicted speedup of a row over its reference."""
    return time_of(*_reference(row), excess) / time_of(*_split(row), excess)


def _uneven(mine: Sequence[tuple[Row, float]]) -> float:
    def distance(excess: float) -> float:
        return sum(abs(float(np.log(relative_speed(row, excess) / value))) for row, value in mine)

    return float(minimize_scalar(distance, bounds=(0.0, 2.0), method="bounded").x)
