"""Judges links and memory on published tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from suite.foresight.collectives import all_reduce_seconds
from suite.foresight.figures import Figure
from suite.foresight.fitting import from_datasheet
from suite.foresight.machine import FLOAT32, Link
from suite.foresight.memory import activation_bytes, held_parameters, peak_bytes, state_bytes
from suite.foresight.plans import Plan, plans_of
from suite.foresight.published import Row, configuration, model_name, table
from suite.foresight.transformer import transformer
from suite.foresight.units import Array

# Of fewer models a factor says more about them than about the allocator.
FEWEST_MODELS = 3
PEAK = "memory, peak"
GIB, GB = float(1 << 30), 1e9


def judge_links() -> list[Figure]:
    """All-reduces of the sizes that calibrated nothing: every other size is calibrated on.

    Start, delay a hop and bandwidth are fitted for each group of devices, since a device of a
    V100 node has more links to seven others than to one. The baseline is the bandwidth alone.
    """
    found: list[Figure] = []
    rows = [row for row in table() if row["metric"] == "all_reduce_time"]
    for name in dict.fromkeys(row["table"] for row in rows):
        mine = [row for row in rows if row["table"] == name]
        found += _link_figures(mine)
    return found


def _link_figures(rows: Sequence[Row]) -> list[Figure]:
    size = float(rows[0]["gpus"])
    payload = np.array([float(re.findall(r"size (\d+)", row["note"])[0]) for row in rows])
    seconds = np.array([float(row["value"]) * 1e-9 for row in rows])
    odd = np.arange(len(rows)) % 2 == 0

    def predicted(theta: Array, bytes_: Array) -> Array:
        return all_reduce_seconds(bytes_, size, Link(np.exp(theta[0]), np.exp(theta[1])))

    def distance(theta: Array) -> Array:
        return np.asarray(np.log(predicted(theta, payload[odd]) / seconds[odd]))

    fit = least_squares(distance, np.log([1e-5, 1e11]))
    largest = int(np.argmax(np.where(odd, payload, 0.0)))
    constant = payload * seconds[largest] / payload[largest]
    model = f"{rows[0]['hardware']} x {size:.0f}"
    return [Figure(rows[0]["source"], "all-reduce", model, seconds[i],
                   float(predicted(fit.x, payload[i : i + 1])[0]), constant[i])
            for i in np.flatnonzero(~odd)]


def judge_memory() -> list[Figure]:
    """Bytes of a device, of every row that states them and its configuration.

    Of peaks that an allocator reports one constant is calibrated, on the other models of the
    source: by what factor it holds more than the program's tensors. The baseline is the states.
    """
    figures = [figure for row in table() if "mem" in row["metric"]
               for figure in _memory_figure(row)]
    return [replace(one, predicted=one.predicted * _slack(one, figures)) for one in figures]


def _slack(one: Figure, figures: Sequence[Figure]) -> float:
    others = [f for f in figures if f.quantity == one.quantity and f.source == one.source
              and f.model != one.model]
    if one.quantity != PEAK or len({f.model for f in others}) < FEWEST_MODELS:
        return 1.0
    some = others[:: max(1, -(-len(others) // 10))]
    ratio = float(np.exp(np.median([np.log(f.published / f.predicted) for f in some])))
    return max(ratio, 1.0)


def _memory_figure(row: Row) -> Iterator[Figure]:
    if row["metric"] == "memory_model":
        yield _of_parameters(row)
        return
    found = configuration(row)
    if isinstance(found, str) or not re.fullmatch(r"[0-9.]+", row["value"]):
        return
    program, shape, plan = found
    model, plans, software = transformer(shape), plans_of([plan]), program.base.software
    held = held_parameters(model, plans, "first", software.cuts_by_parameters)
    if row["metric"] == "memory_activations":
        predicted, quantity = activation_bytes(model, plans, software), "memory, activations"
    elif row["metric"] == "memory_params_and_optimizer":
        predicted, quantity = state_bytes(held, plans, software), "memory, states"
    elif row["metric"] in ("peak_memory", "memory_allocated"):
        stack = from_datasheet(program.base).stack
        predicted, quantity = peak_bytes(model, plans, stack), PEAK
    else:
        return
    # nanotron prints bytes / 1024^3 as GB (LogItem in its helpers.py).
    unit = GB if row["unit"] == "GB" and not row["source"].startswith("nanotron") else GIB
    states = float(state_bytes(held, plans, software)[0])
    yield Figure(row["source"], quantity, model_name(row), float(row["value"]) * unit,
                 float(predicted[0]), states)


def _of_parameters(row: Row) -> Figure:
    """Parameters, gradients and states of a model trained in float32."""
    scale = {"M": 1e6, "B": 1e9}[row["params"][-1]]
    held = np.array([float(row["params"][:-1]) * scale])
    software = replace(FLOAT32, state_bytes=4.0)  # a moving average of the squared gradient
    predicted = float(state_bytes(held, plans_of([Plan()]), software)[0])
    return Figure(row["source"], "memory, states", row["model"], float(row["value"]) * GIB,
                  predicted, float(held[0]) * 4.0)
