"""Rehearsals of a planted machine that its constants alone describe badly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.contract.workloads import sized_workload
from suite.foresight.collectives import all_reduce_seconds, hop_seconds
from suite.foresight.correction import (
    BORROWED,
    EXACT,
    NOT,
    corrected,
    rehearsed_ways,
    with_bandwidth,
)
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.foresight.plans import Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.rehearsal import Calls, Rehearsal
from suite.foresight.sharded import gradient_seconds
from suite.foresight.step import predict_by_constants
from suite.foresight.units import Model
from suite.foresight.workloads import model_of_workload

MACHINE = Machine(
    "planted", product_flops_s=1e11, ramp_s=1e-6, narrow=0.1, stream_bytes_s=2e10, launch_s=3e-6,
    inside=Link(1e-4, 1e9), between=Link(1e-4, 1e9), devices_per_node=2, memory_bytes=0,
    synchronous=True, hop=Link(1e-4, 1e9),
)
STACK = Stack(MACHINE, FLOAT32)
# What the machine truly does inside a step: every operation starts many times as slowly, and a call
# waits for the core.
SLOW_LINK = Link(2e-3, 1e9)
TRUTH = Stack(replace(MACHINE, launch_s=8e-5, inside=SLOW_LINK, hop=SLOW_LINK), FLOAT32)
DATA, INTRA = Plan(replicas=2, micro_batch=4), Plan(shards=2, micro_batch=8)
PIPE = Plan(stages=2, micro_batch=2, micro_batches=4, schedule="gpipe")
WAYS = {"data": DATA, "intra_layer": INTRA, "inter_layer": PIPE}


def _model(depth: int) -> Model:
    """The first blocks of the whole model, which has four."""
    return model_of_workload(sized_workload("gpt", "small", 8, depth % 4))


def _parameters(depth: int) -> float:
    return sum(float(unit.parameters + unit.parameters_split) for unit in _model(depth))


def _rehearsal(plan: Plan, depth: int = 2) -> Rehearsal:
    """A training of a shallow model on the true machine, whose calls are known one by one."""
    true = predict_by_constants(_model(depth), plans_of([plan]), TRUTH)
    transfer = float(true.communication_s[0])
    size = 4.0 * 128 * 256 * plan.micro_batch
    call_s = (hop_seconds(size, SLOW_LINK) if plan.stages > 1
              else all_reduce_seconds(size, 2.0, SLOW_LINK))
    if plan.replicas > 1:
        size, call_s = 4.0 * _parameters(2), np.array(transfer)
    calls = Calls(transfer, float(call_s), size, exposed_s=transfer / 2)
    return Rehearsal(plan, _model(depth), float(true.step_s[0]), calls)


def _errors(way: Plan, rehearsals: list[Rehearsal]) -> tuple[float, float]:
    """Relative errors of step and T_comm of the whole model."""
    stack = replace(STACK, rehearsed=rehearsed_ways(rehearsals, STACK))
    plans = plans_of([way])
    found = predict(_model(4), plans, stack)
    true = predict_by_constants(_model(4), plans, TRUTH)
    return (float(found.step_s[0] / true.step_s[0] - 1.0),
            float(found.communication_s[0] / true.communication_s[0] - 1.0))


@pytest.mark.parametrize("name", WAYS)
def test_a_rehearsal_mends_what_constants_do_not_know(name: str) -> None:
    way = WAYS[name]
    before, after = _errors(way, []), _errors(way, [_rehearsal(way)])
    assert abs(before[0]) > 0.15 and abs(before[1]) > 0.2
    assert abs(after[0]) < 0.05 and abs(after[1]) < 0.02


def test_without_rehearsals_nothing_changes() -> None:
    plans = plans_of(WAYS.values())
    found = predict_by_constants(_model(4), plans, STACK)
    assert corrected(found, _model(4), plans, STACK) is found
    assert not found.rehearsed.any()


def test_what_is_exposed_keeps_its_share() -> None:
    stack = replace(STACK, rehearsed=rehearsed_ways([_rehearsal(DATA)], STACK))
    found = predict(_model(4), plans_of([DATA]), stack)
    assert found.exposed_s[0] == pytest.approx(found.communication_s[0] / 2)


def test_rehearsals_with_passes_of_two_lengths_are_interpolated_and_not_extrapolated() -> None:
    short, long = _rehearsal(PIPE), _rehearsal(replace(PIPE, micro_batch=4))
    (way,) = rehearsed_ways([long, short], STACK)
    low, high = (trial.pass_s for trial in way.trials)
    assert high > 1.5 * low
    weights = way.weights(np.array([low / 9, np.sqrt(low * high), high * 9]))
    assert weights == pytest.approx(np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]))


def test_another_schedule_and_a_mesh_borrow() -> None:
    ways = rehearsed_ways([_rehearsal(DATA), _rehearsal(PIPE)], STACK)
    stack = replace(STACK, rehearsed=ways)
    mesh = Plan(replicas=2, stages=2, micro_batch=1, micro_batches=4, schedule="gpipe")
    asked = [PIPE, replace(PIPE, schedule="1f1b"), mesh, replace(mesh, replicas=1, shards=2),
             replace(DATA, replicas=4, micro_batch=2), Plan(micro_batch=8)]
    plans = plans_of(asked)
    found, plain = predict(_model(4), plans, stack), predict_by_constants(_model(4), plans, STACK)
    assert found.rehearsed.tolist() == [EXACT, BORROWED, BORROWED, NOT, BORROWED, NOT]
    factors = found.step_s / plain.step_s
    data, pipe = (way.trials[0].plain_factor for way in ways)
    assert factors[2:4] == pytest.approx([max(data, pipe), 1.0])
    assert factors[0] == pytest.approx(factors[1], rel=0.1) and factors[5] == 1.0
    assert found.communication_s[2] == plain.communication_s[2]
    assert found.samples_s == pytest.approx(plans.global_batch / found.step_s)


def test_full_buckets_are_sent_one_by_one() -> None:
    # Without a cost of bytes, seconds are the number of calls.
    link = Link(0.5, 1e15)  # a ring of two has two delays
    software = replace(FLOAT32, first_calls=1.0, call_bytes=1e6)
    held, plans = np.array([1.5e6]), plans_of([DATA])
    assert gradient_seconds(held, plans, link, software) == pytest.approx(1.0 + 6.0)
    assert gradient_seconds(held, plans, link, FLOAT32) == pytest.approx(1.0)


def test_faster_links_shorten_rehearsed_calls_by_their_bytes() -> None:
    stack = replace(STACK, rehearsed=rehearsed_ways([_rehearsal(INTRA), _rehearsal(PIPE)], STACK))
    plans = plans_of([INTRA, PIPE])
    before = predict(_model(4), plans, stack).communication_s
    after = predict(_model(4), plans, with_bandwidth(stack, 1e9)).communication_s
    # A call of either takes its latency and a byte's time; only the latter is left out.
    size = 4.0 * 128 * 256 * np.array([8.0, 2.0])
    latency = SLOW_LINK.latency_s * np.array([2.0, 1.0])
    assert after / before == pytest.approx(latency / (latency + size / SLOW_LINK.bytes_s), rel=1e-3)


def test_passes_of_another_length_are_rehearsed_in_part() -> None:
    """Twice the samples are near enough, four times are not; hops wait for whole passes."""
    ways = rehearsed_ways([_rehearsal(DATA), _rehearsal(PIPE)], STACK)
    stack = replace(STACK, rehearsed=ways)
    plans = plans_of([replace(way, micro_batch=way.micro_batch * times)
                      for way in (DATA, PIPE) for times in (0.5, 1.0, 2.0, 4.0)])
    whole = predict(_model(4), plans, stack).rehearsed
    assert whole.tolist() == [EXACT, EXACT, EXACT, BORROWED, EXACT, EXACT, BORROWED, BORROWED]
    rehearsed = predict(_model(2), plans, stack).rehearsed
    assert rehearsed.tolist()[4:] == [EXACT, EXACT, EXACT, BORROWED]


def test_where_no_call_was_told_apart_communication_stays_as_predicted() -> None:
    stack = replace(STACK, rehearsed=rehearsed_ways([replace(_rehearsal(DATA), calls=None)], STACK))
    plans = plans_of([DATA])
    found, plain = predict(_model(4), plans, stack), predict_by_constants(_model(4), plans, STACK)
    assert found.communication_s == pytest.approx(plain.communication_s) and found.step_s > 0
    assert 0.0 < found.exposed_s[0] <= found.communication_s[0] and found.rehearsed[0] == EXACT


def test_what_is_recomputed_without_a_rehearsal_of_that_is_rehearsed_in_part() -> None:
    stack = replace(STACK, rehearsed=rehearsed_ways([_rehearsal(DATA)], STACK))
    asked = plans_of([DATA, replace(DATA, recompute=2.0)])
    assert predict(_model(4), asked, stack).rehearsed.tolist() == [EXACT, BORROWED]
