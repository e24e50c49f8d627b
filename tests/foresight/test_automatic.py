"""Which ways are worth running: cuts by predicted time, memory, rank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.contract.candidates import is_alone, is_plain
from suite.contract.case import Case
from suite.contract.splits.stages import stage_units
from suite.foresight.automatic import (
    Foreseen,
    cut_by_time,
    finalists,
    foresee,
    plan_of,
    too_large,
    unit_seconds,
)
from suite.foresight.correction import rehearsed_ways
from suite.foresight.fitting import Posterior
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.foresight.plans import plans_of
from suite.foresight.predict import predict
from suite.foresight.rehearsal import Rehearsal
from suite.foresight.units import Array
from suite.foresight.workloads import model_of_workload

COMMON = ("gpt", "small", "synthetic", "cpu")
PIPELINE = Case("pytorch", "torch", "inter_layer", "1f1b", *COMMON, 2)


def _posterior(memory_bytes: float = 0.0, stream: float = 1e10) -> Posterior:
    link = Link(1e-5, 1e9)
    machine = Machine("planted", 5e10, 1e-6, 4.0, stream, launch_s=1e-6, inside=link, between=link,
                      devices_per_node=2, memory_bytes=memory_bytes, synchronous=True, hop=link)
    return Posterior(lambda theta: Stack(replace(machine, step_s=float(np.exp(theta[0]))), FLOAT32),
                     np.log([1e-4]), np.eye(1) * 0.01, 0.1, 0)


def _ways() -> list[Case]:
    data = Case("pytorch", "torch", "data", "", *COMMON, 2)
    return [
        Case("pytorch", "torch", "single", "", *COMMON, 1), data, replace(data, accumulate=2),
        replace(data, recompute="blocks"), replace(data, variant="zero1"),
        replace(data, variant="fsdp"), replace(data, strategy="intra_layer"), PIPELINE,
        replace(PIPELINE, variant="gpipe"), replace(PIPELINE, accumulate=2),
    ]


def test_a_plan_says_what_its_case_does() -> None:
    case = replace(PIPELINE, strategy="data+inter_layer", devices=4, accumulate=2, cut=(3, 1),
                   recompute="blocks")
    plan = plan_of(case)
    assert (plan.stages, plan.replicas, plan.micro_batches, plan.cut) == (2, 2, 8, "3,1")
    assert plan.recompute and plan.micro_batch * 8 * 2 == case.spec.global_batch
    assert plan_of(replace(_ways()[1], variant="zero2")).sharding == 2


def test_a_given_cut_is_what_is_predicted() -> None:
    model = model_of_workload(PIPELINE.spec)
    cases = [PIPELINE, replace(PIPELINE, cut=(2, 2)), replace(PIPELINE, cut=(1, 3))]
    steps = predict(model, plans_of(map(plan_of, cases)), _posterior().stack).step_s
    alone = [predict(model, plans_of([plan_of(case)]), _posterior().stack).step_s[0]
             for case in cases]
    assert steps.tolist() == alone  # whatever else is predicted beside it
    assert [len(units) for units in stage_units(PIPELINE.spec, 2)] == [2, 2]
    assert steps[0] == steps[1] < steps[2]


def test_a_pipeline_is_cut_where_predicted_seconds_balance() -> None:
    """The first blocks stream large feature maps with few FLOPs: where that is slow they weigh."""
    case, slow = replace(PIPELINE, workload="efficientnet"), _posterior(stream=2e8)
    cut = cut_by_time(case, slow)
    assert cut is not None
    seconds = unit_seconds(model_of_workload(case.spec), plan_of(case), slow)
    worst = {n: max(sum(seconds[:n]), sum(seconds[n:])) for n in range(1, len(seconds))}
    assert cut.cut[0] == min(worst, key=lambda n: worst[n])
    assert cut.cut[0] < len(stage_units(case.spec, 2)[0])
    before, after = foresee([case, cut], slow)
    assert (after.predicted_s or 0.0) < 0.9 * (before.predicted_s or 0.0)


@pytest.mark.parametrize("case", [
    replace(PIPELINE, variant="interleaved"), replace(PIPELINE, cut=(12, 4)), _ways()[1],
])
def test_what_has_no_stages_or_has_its_cut_gets_none(case: Case) -> None:
    assert cut_by_time(replace(case, workload="efficientnet"), _posterior(stream=2e8)) is None


def test_plain_ways_and_the_best_of_each_strategy_run() -> None:
    found = finalists(foresee(_ways(), _posterior()), 2, 3)
    run = [one for one in found if one.fate == "run"]
    assert [one.way for one in run[:2]] == ["single", "data"]
    kinds = [one.way.partition(",")[0] for one in run[2:]]
    assert len(kinds) == 3 and set(kinds) == {"data", "intra_layer", "inter_layer"}
    slower = [one for one in found if one.fate == "slower"]
    assert len(run) + len(slower) == len(_ways())
    assert all("the shortest step" in one.reason or "without recomputing" in one.reason
               for one in slower)


def test_of_a_strategy_what_is_surely_slower_is_not_run_though_there_is_room() -> None:
    ways = foresee(_ways(), _posterior())
    fixed = [one for one in ways if is_plain(one.case) or is_alone(one.case)]
    planted = fixed + [replace(one, predicted_s=9.0, low_s=8.0, high_s=10.0) for one in ways
                       if one not in fixed]
    found = finalists(planted, 2, 9)
    strategies = {one.way.partition(",")[0] for one in found[2:] if one.fate == "run"}
    assert strategies == {"intra_layer", "inter_layer"}  # each strategy is tried, whatever is said


def test_what_recomputes_runs_only_where_it_does_not_fit_without() -> None:
    ways = foresee(_ways(), _posterior())
    fates = {one.case_id: one.fate for one in finalists(ways, 2, 20)}
    recomputed = next(one for one in ways if one.case.recomputes)
    assert fates[recomputed.case.case_id] == "slower"
    needed = [one for one in ways if one is recomputed or not is_plain(one.case)]
    fates = {one.case_id: one.fate for one in finalists(needed, 2, 20)}
    assert fates[recomputed.case.case_id] == "run"


def test_nothing_that_may_be_faster_is_left_out_without_predictions() -> None:
    found = finalists(foresee(_ways(), None), 2, 1)
    assert [one.fate for one in found] == ["run"] * (len(_ways()) - 1) + ["slower"]


def test_memory_that_is_missing_is_named() -> None:
    roomy, tight = foresee(_ways(), _posterior(1e12)), foresee(_ways(), _posterior(5e7))
    assert not any(map(too_large, roomy))
    large = {one.case.case_id for one in tight if too_large(one)}
    sharded = next(one for one in tight if one.case.variant == "fsdp")
    plain = next(one for one in tight if is_plain(one.case))
    assert plain.case.case_id in large and (plain.peak_bytes or 0) > (sharded.peak_bytes or 0)
    assert "more than there is" in too_large(plain)
    assert too_large(Foreseen(PIPELINE)) == ""


def test_a_rehearsal_of_the_plain_way_does_not_narrow_what_is_known_of_its_variants() -> None:
    plain = Case("pytorch", "torch", "data", "", "gpt", "tiny", "real", "cpu", 2)
    cases = [plain, replace(plain, variant="multi_worker"), replace(plain, variant="long_cycle")]
    known = _posterior()
    model = model_of_workload(plain.spec)
    trained = [Rehearsal(plan_of(plain), model, 0.01)]

    def make(theta: Array) -> Stack:
        stack = known.make(theta)
        return replace(stack, rehearsed=rehearsed_ways(trained, stack))

    sure = replace(known, make=make, rehearsed_error=known.error / 4)
    widths = [np.log(one.high_s / one.low_s) for one in foresee(cases, sure)
              if one.high_s and one.low_s]
    assert widths[1] == pytest.approx(widths[2]) and widths[1] > 1.5 * widths[0]
