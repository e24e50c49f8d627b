"""Spans that overlap or touch."""

from __future__ import annotations

import pytest

from suite.contract.spans import union, union_length


def test_union_counts_overlap_once() -> None:
    assert union_length([(0, 2), (1, 3), (5, 6), (5.2, 5.5)]) == pytest.approx(4.0)


def test_spans_that_touch_are_one() -> None:
    assert union([(3, 4), (0, 1), (1, 2), (0.5, 0.6)]) == [(0, 2), (3, 4)]
