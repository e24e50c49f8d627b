"""Who may be the fastest, and what would tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.analysis.contenders import alike, rank, what_would_tell
from suite.analysis.ledger import MUST_EQUAL
from suite.analysis.statistics import Spread, ratio_interval, typical_spread
from suite.analysis.verdict import compare_cases, may_be_fastest
from suite.contract.row import Row
from suite.measure.stopping import StoppingRule


def _row(name: str, launches: list[float], **more: object) -> Row:
    row = Row(case_id=name, status="ok", strategy="data", devices=2, repeats=len(launches),
              step_time_s=float(np.median(launches)), launch_step_s=list(launches), launch_s=4.0,
              ledger=dict.fromkeys(MUST_EQUAL, "same"))
    return replace(row, **more)  # type: ignore[arg-type]


def _matrix(seconds: list[float], deviation: float, seed: int = 0, blocks: int = 3) -> list[Row]:
    noise = np.exp(np.random.default_rng(seed).normal(0, deviation, (len(seconds), blocks)))
    return [_row(str(number), list(one * noise[number])) for number, one in enumerate(seconds)]


def test_three_launches_of_sixteen_cases_show_a_case_twice_as_slow() -> None:
    """Student's t with two degrees of freedom alone does not: 17 deviations at this level."""
    rows = _matrix([1.0, *[2.0] * 15], 0.05)
    steadied = [one.verdict for _, one in may_be_fastest(rows[0], rows[1:])]
    alone = [compare_cases(rows[0], row, 1 - 0.05 / 15).verdict for row in rows[1:]]
    assert steadied == ["faster"] * 15 and alone.count("faster") < 15


def test_what_other_cases_show_never_narrows_a_variance() -> None:
    pairs = ([1.0, 1.5, 0.7], [1.0, 1.0, 1.0])
    calm, restless = Spread(1e-6, 4), Spread(4.0, 4)
    alone = np.log(pairs[0]).std(ddof=1)
    found = ratio_interval(*pairs, 0.95, calm)
    assert np.log(found.high / found.low) / 2 == pytest.approx(2.447 * alone / 3**0.5, rel=1e-3)
    wide = ratio_interval(*pairs, 0.95, restless)
    assert wide.high / wide.low > ratio_interval(*pairs, 0.95, calm).high / found.low


def test_the_typical_spread_is_that_of_a_pair() -> None:
    """Of planted noise 0.05 a launch: twice its variance, whatever blocks and cases differ by."""
    random = np.random.default_rng(0)
    found = [
        typical_spread(np.exp(random.normal(0, 0.05, (16, 3)) + random.normal(0, 1, (16, 1))
                              + random.normal(0, 1, (1, 3)))) for _ in range(300)
    ]
    assert np.mean([one.variance for one in found if one]) == pytest.approx(2 * 0.05**2, rel=0.1)
    assert [typical_spread(np.ones((cases, 3))) is None for cases in (2, 3, 4)] == [
        True, True, False]


def test_leaders_get_launches_and_losers_none() -> None:
    rule = StoppingRule(3, leader_repeats=8)
    rows = _matrix([1.0, 1.03, 1.05, *[3.0] * 13], 0.02)
    assert rule.leaders(rows) == {"0", "1", "2"}
    assert StoppingRule(3).leaders(rows) == set()
    assert StoppingRule(3, leader_repeats=3).leaders(rows) == set()


def test_only_the_nearest_three_are_launched_again() -> None:
    rows = _matrix([1.0, *[1.1 + number / 100 for number in range(9)]], 0.1, seed=1)
    found = rank(rows)
    assert found and len(found.undecided) == 9
    assert len(StoppingRule(3, leader_repeats=20).leaders(rows)) == 4


def test_a_clear_winner_needs_no_more() -> None:
    assert not StoppingRule(3, leader_repeats=8).leaders(_matrix([1.0, *[2.0] * 9], 0.02))


def test_equal_cases_are_not_launched_again_nor_told_apart() -> None:
    rows = _matrix([1.0] * 8, 0.002, blocks=6)
    found = rank(rows)
    assert found and all(alike(one) for _, one in found.open) and not found.undecided
    assert what_would_tell(found) is None
    assert not StoppingRule(6, leader_repeats=20).leaders(rows)


def test_each_question_has_leaders_of_its_own() -> None:
    rows = _matrix([1.0, 1.05, *[3.0] * 8], 0.02)
    other = [replace(row, case_id=f"other{row.case_id}", workload="gpt") for row in rows]
    found = StoppingRule(3, leader_repeats=8).leaders([*rows, *other])
    assert found == {"0", "1", "other0", "other1"}


def test_the_launches_that_would_tell_do_tell() -> None:
    """As many blocks as it says leave out 1, in most of planted runs."""
    told = 0
    for seed in range(20):
        found = rank(_matrix([1.0, 1.1, *[4.0] * 6], 0.04, seed))
        assert found
        deciding = what_would_tell(found)
        if deciding is None:
            told += not found.open
            continue
        assert deciding.seconds == pytest.approx((deciding.repeats - 3) * 8.0)
        later = rank(_matrix([1.0, 1.1, *[4.0] * 6], 0.04, seed, min(60, deciding.repeats)))
        told += bool(later) and not later.open
    assert told >= 13
