"""Known truths for the statistics."""

import math

import pytest

from suite.analysis.statistics import bootstrap_median, union_length


def test_union_counts_overlap_once() -> None:
    assert union_length([(0, 2), (1, 3), (5, 6), (5.2, 5.5)]) == pytest.approx(4.0)


def test_one_launch_has_no_interval() -> None:
    median, low, high = bootstrap_median([0.5])
    assert median == 0.5
    assert math.isnan(low) and math.isnan(high)


def test_interval_holds_the_median() -> None:
    median, low, high = bootstrap_median([1.0, 1.1, 1.2, 1.3, 5.0])
    assert median == 1.2
    assert 1.0 <= low < median < high <= 5.0
