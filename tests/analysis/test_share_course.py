"""Balanced shares as rows of a file and as what the page draws."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.share_course import BALANCE_COLUMNS, STEPS_AT_MOST, balance_rows, share_course
from suite.contract.records import UNITS, Launch, RankRecord


def _launch(shares: list[list[int]], busy: list[list[float]]) -> Launch:
    first = replace(RankRecord(0), shares=shares, share_busy_seconds=busy)
    return [first, RankRecord(1)]


MOVING = _launch([[5, 5], [6, 4], [7, 3]], [[0.5, 0.6], [0.7, 0.8]])


def test_every_step_and_device_has_a_row_and_the_last_steps_are_not_told_of() -> None:
    rows = list(balance_rows("a", [None, MOVING]))
    assert [[row[name] for name in BALANCE_COLUMNS] for row in rows] == [
        ["a", 1, 0, 0, 5, 0.5, None], ["a", 1, 0, 1, 5, 0.6, None], ["a", 1, 1, 0, 6, 0.7, None],
        ["a", 1, 1, 1, 4, 0.8, None], ["a", 1, 2, 0, 7, None, None], ["a", 1, 2, 1, 3, None, None]]


def test_stages_have_units_and_no_samples() -> None:
    first, *_ = balance_rows("a", [MOVING], UNITS)
    assert (first["units"], first["samples"], first["busy_s"]) == (5, None, 0.5)


def test_the_page_draws_the_launch_whose_shares_changed_most_often() -> None:
    still = _launch([[5, 5]] * 3, [[0.1, 0.1]] * 3)
    once = _launch([[5, 5], [9, 1], [9, 1]], [[0.2, 0.2]] * 3)
    found = share_course([still, MOVING, once])
    assert found and (found.steps, found.shares, found.busy_seconds) == (
        [0, 1], [[5, 5], [6, 4]], [[0.5, 0.6], [0.7, 0.8]])
    assert share_course([[RankRecord(0)]]) is None


@pytest.mark.parametrize("count", [STEPS_AT_MOST, STEPS_AT_MOST + 1, 5 * STEPS_AT_MOST])
def test_a_long_course_is_thinned_evenly_between_its_ends(count: int) -> None:
    found = share_course([_launch([[step, 0] for step in range(count)], [[0.0, 0.0]] * count)])
    assert found and len(found.steps) == STEPS_AT_MOST
    assert (found.steps[0], found.steps[-1]) == (0, count - 1)
    assert found.shares == [[step, 0] for step in found.steps]
