"""Judges speedups of image models over one device, data parallel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from suite.foresight.collectives import all_reduce_seconds
from suite.foresight.figures import Figure
from suite.foresight.machine import Link
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
