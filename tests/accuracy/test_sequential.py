"""The answer stays right where launches go to the leaders; ``make accuracy`` prints the table."""

from __future__ import annotations

import pytest

from tests.accuracy.sequential import BASE, MOST, answers, spreads


@pytest.mark.parametrize("kind", ["equal", "calm winner", "restless winner"])
def test_the_true_winner_is_seldom_left_out(kind: str) -> None:
    """Asked is 5 %; 150 runs of six cases may show 8 % of an honest rule, seldom more."""
    assert answers("log-normal", spreads(kind, 6), runs=150).wrong <= 0.08


def test_launches_go_where_the_answer_is_open() -> None:
    """A winner by a third is named in most runs, with fewer launches than all cases would take."""
    found = answers("log-normal", [0.05] * 10, behind=0.35, runs=60)
    assert found.decided >= 0.8 and found.wrong <= 0.05
    assert 10 * BASE < found.launches < 0.7 * 10 * MOST


def test_equal_cases_get_no_more_launches_than_the_limit() -> None:
    found = answers("log-normal", [0.05] * 6, runs=40)
    assert found.launches <= 6 * BASE + 4 * (MOST - BASE)
