"""Judged by rows that calibrated nothing; planted constants are found again."""

from __future__ import annotations

import numpy as np
import pytest

from suite.foresight.figures import Figure, rank_correlation, verdict
from suite.foresight.fitting import MEDIANS, PRIORS, calibrated, from_datasheet, stack_of
from suite.foresight.judgement import GOALS, goal_of
from suite.foresight.judging import (
    MOST_ROWS,
    calibration_rows,
    check_split,
    judge_stack,
    step_predictor,
)
from suite.foresight.other_tables import judge_links, judge_memory
from suite.foresight.published import Published, steps, table
from suite.foresight.speedups import judge_data_parallel

ROWS = steps()[0]
STACKS = {name: [row for row in ROWS if row.stack == name] for name in {r.stack for r in ROWS}}
VTRAIN = [row for row in ROWS if row.source == "vTrain single-node"]


def test_every_row_has_its_source() -> None:
    assert len(table()) > 1900 and all("github" in row["note"] for row in table())


@pytest.mark.parametrize("stack", sorted(STACKS))
def test_few_rows_calibrate_and_never_of_the_judged_model(stack: str) -> None:
    rows = STACKS[stack]
    chosen = calibration_rows(rows)
    assert len(chosen) <= MOST_ROWS
    for model in {row.model for row in rows}:
        judged = [row for i, row in enumerate(rows) if row.model == model and i not in chosen]
        mine = [rows[i] for i in chosen if rows[i].model != model]
        check_split(judged, mine)
        assert not {id(row) for row in judged} & {id(row) for row in mine}


def test_a_calibration_that_saw_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="share the models"):
        check_split(VTRAIN[:2], VTRAIN[:1])
    others = [row for row in VTRAIN if row.model != VTRAIN[0].model]
    with pytest.raises(ValueError, match="11 calibration rows"):
        check_split(VTRAIN[:1], others[:11])


def test_rows_are_chosen_without_their_times() -> None:
    slower = [Published(**{**row.__dict__, "seconds": 9.0 + i}) for i, row in enumerate(VTRAIN)]
    assert calibration_rows(VTRAIN) == calibration_rows(slower)


def _planted(rows: list[Published], theta: np.ndarray) -> list[Published]:
    seconds = step_predictor(rows)(stack_of(rows[0].program.base, theta))
    return [Published(**{**row.__dict__, "seconds": float(s)})
            for row, s in zip(rows, seconds, strict=True)]


def test_planted_constants_are_predicted_from_ten_rows() -> None:
    theta = MEDIANS + 0.5 * np.array([prior.spread for prior in PRIORS]) * (-1) ** np.arange(
        len(PRIORS))
    planted = _planted(VTRAIN, theta)
    figures = judge_stack(planted)
    found = verdict(figures)
    assert found.error < 0.02 < found.baseline_error
    assert found.coverage > 0.99 and found.rank_correlation > 0.99


def test_calibration_narrows_the_interval() -> None:
    rows = [VTRAIN[i] for i in calibration_rows(VTRAIN)]
    predictor = step_predictor(VTRAIN[:5])
    known = calibrated(rows[0].program.base, step_predictor(rows), [r.seconds for r in rows])
    unknown = from_datasheet(rows[0].program.base)
    assert (known.spread(predictor) < 0.7 * unknown.spread(predictor)).all()


def test_one_outlier_does_not_bend_the_constants() -> None:
    rows = _planted([VTRAIN[i] for i in calibration_rows(VTRAIN)], MEDIANS)
    seconds = [row.seconds for row in rows]
    seconds[0] *= 3.0
    found = calibrated(rows[0].program.base, step_predictor(rows), seconds)
    predicted = step_predictor(rows)(found.stack)
    assert np.abs(predicted[1:] / seconds[1:] - 1.0).mean() < 0.1


def test_megatron_links_memory_and_data_parallel_meet_their_goals() -> None:
    megatron = [row for row in ROWS if row.stack.startswith("Megatron-LM 2021, A100 SXM 80GB")]
    figures = [*judge_stack(megatron), *judge_links(), *judge_data_parallel(),
               *(f for f in judge_memory() if f.quantity != "memory, peak")]
    for source, quantity in {(f.source, f.quantity) for f in figures}:
        mine = [f for f in figures if (f.source, f.quantity) == (source, quantity)]
        one = verdict(mine, goal_of(source, quantity))
        assert one.met is not False, one


def test_goals_are_found_by_source_and_quantity() -> None:
    assert goal_of("vTrain multi-node", "step time") == 0.08
    assert goal_of("vTrain multi-node", "step time, calibrated on vTrain single-node") == 0.10
    assert np.isnan(goal_of("somewhere", "step time")) and len(GOALS) > 8


def test_ranks_count_only_where_there_is_an_order() -> None:
    def figures(times: list[float]) -> list[Figure]:
        return [Figure("s", "step time", "m", t, float(i + 1)) for i, t in enumerate(times)]

    assert rank_correlation(figures([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1.0)
    assert rank_correlation(figures([4.0, 3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(figures([1.0, 1.01, 1.02, 1.03])))
