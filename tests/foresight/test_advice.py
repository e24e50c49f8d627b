"""Advice: what is within the error is not recommended, what was measured counts as measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.contract.workloads import sized_workload
from suite.foresight.advice import (
    Evidence,
    advise,
    crossover_maps,
    is_plain,
    turning_points,
)
from suite.foresight.fitting import Posterior
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.foresight.question import Answer, Wish, answer, asked_plans, strategy_of
from suite.foresight.units import Array
from suite.report.advice import advice_lines, advice_page

WORKLOAD = sized_workload("gpt", "gpt2", 32)
FAST = Machine(
    "planted", product_flops_s=1e14, ramp_s=1e-6, narrow=1.0, stream_bytes_s=1e12, launch_s=1e-6,
    inside=Link(1e-6, 1e11), between=Link(1e-5, 1e10), devices_per_node=8, memory_bytes=80e9,
)


def _posterior(machine: Machine, spread: float) -> Posterior:
    """A machine of which one constant is known to ``spread``, its link's bandwidth."""
    def make(theta: Array) -> Stack:
        link = replace(machine.inside, bytes_s=machine.inside.bytes_s * np.exp(theta[0]))
        return Stack(replace(machine, inside=link), FLOAT32)

    return Posterior(make, np.zeros(1), np.eye(1) * spread**2, spread, 0)


def _answer(machine: Machine = FAST, spread: float = 0.02, wish: Wish | None = None) -> Answer:
    wish = wish or Wish(4, shardings=("none",))
    return answer(WORKLOAD, asked_plans(WORKLOAD, wish), _posterior(machine, spread))


def test_a_clear_winner_is_recommended() -> None:
    # On so slow a link gradients take longest, and activations between stages are small.
    slow = replace(FAST, inside=Link(1e-6, 1e8))
    found = advise(_answer(slow))
    assert strategy_of(found.ways[0].plan) != "data"
    assert "more than the error" in found.why or "takes" in found.why


def test_what_is_within_the_error_is_not_recommended_over_data_parallelism() -> None:
    slow = replace(FAST, inside=Link(1e-6, 1e8))
    unsure = advise(_answer(slow, spread=5.0))
    assert is_plain(unsure.ways[0].plan)
    assert "within the error" in unsure.why
    fastest = min(unsure.ways, key=lambda way: way.step_s)
    assert fastest is not unsure.ways[0]


def test_a_measured_row_counts_as_it_was_measured() -> None:
    seen = Evidence("inter_layer", "1f1b", False, 1e-4, 0.9e-4, 1.1e-4, "run-7", "case")
    found = advise(_answer(), [seen])
    best = found.ways[0]
    assert best.measured and best.step_s == 1e-4
    assert strategy_of(best.plan) == "inter_layer" and best.plan.schedule == "1f1b"
    assert "run run-7" in advice_page(found, [], "", [], "")


def test_two_measurements_are_apart_where_their_intervals_are() -> None:
    def row(strategy: str, schedule: str, low: float, high: float) -> Evidence:
        return Evidence(strategy, schedule, False, (low + high) / 2, low, high, "run", strategy)

    near = [row("data", "", 0.9e-4, 1.2e-4), row("inter_layer", "gpipe", 0.85e-4, 1.1e-4)]
    far = [row("data", "", 0.9e-4, 1.2e-4), row("inter_layer", "gpipe", 0.5e-4, 0.6e-4)]
    assert is_plain(advise(_answer(), near).ways[0].plan)
    assert strategy_of(advise(_answer(), far).ways[0].plan) == "inter_layer"


def test_what_does_not_fit_says_by_how_much() -> None:
    small = replace(FAST, memory_bytes=3.2e9)
    found = advise(_answer(small))
    assert found.too_large and all(way.over > 0 for way in found.too_large)
    nothing = advise(_answer(replace(FAST, memory_bytes=1e6)))
    assert not nothing.ways and "nothing fits" in nothing.why
    assert advice_lines(nothing, [], "")[0].startswith("No way fits")


def test_reasons_have_the_sizes_of_what_is_sent() -> None:
    found = _answer(wish=Wish(4, strategies=("intra_layer",), micro_batches=1))
    (way,) = advise(found).ways
    # Two sums a block and pass: 24 of them forward and backward. The ends are whole on each.
    assert "need 48 all-reduces of 101 MB" in way.reasons[0]


def test_the_map_turns_where_the_link_gets_faster() -> None:
    slow = replace(FAST, inside=Link(1e-6, 1e8))
    found = _answer(slow)
    maps = crossover_maps(
        {32: WORKLOAD}, Wish(4, shardings=("none",)), found.posterior, found.model,
        devices=[2, 4], factors=[1.0, 1000.0])
    (slowest, fastest), = maps[1].best
    assert slowest != "data" and fastest == "data"
    said = turning_points(maps, 32)
    assert any("1000 times today's link bandwidth" in text for text in said)
    page = advice_page(advise(found), said, "do this", maps, "planted")
    assert page.count("<svg") == 2 and "do this" in page


@pytest.mark.parametrize("devices", [3, 5])
def test_devices_that_do_not_divide_leave_cells_empty(devices: int) -> None:
    found = _answer()
    maps = crossover_maps(
        {32: WORKLOAD}, Wish(4, strategies=("data",), shardings=("none",)), found.posterior,
        found.model, devices=[devices], factors=[1.0])
    assert maps[0].best == [[""]]
