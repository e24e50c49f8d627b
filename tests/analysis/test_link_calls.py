"""What a sweep's calls take: the fastest, and what a usual one takes beyond it."""

from __future__ import annotations

from typing import Any

import pytest

from suite.analysis.link_calls import call_seconds, usual_over_fastest


def _samples(seconds: dict[int, list[float]], load_s: float = 0.0) -> list[dict[str, Any]]:
    """A sample for each of two ranks: the second one arrives 1 s late, and both end together."""
    return [
        {"bytes": size, "repetition": number // 2, "call": number % 2, "rank": rank,
         "start_s": float(rank), "end_s": 1.0 + length, "load_s": load_s}
        for size, lengths in seconds.items() for number, length in enumerate(lengths)
        for rank in range(2)
    ]


def test_a_call_takes_from_the_last_arrival_to_the_last_end() -> None:
    sizes, seconds = call_seconds(_samples({4: [3.0, 2.0, 5.0, 7.0], 64: [9.0, 8.0, 8.5, 8.25]}))
    assert sizes.tolist() == [4.0, 64.0]
    assert seconds.tolist() == [[2.0, 8.0], [5.0, 8.25]]


def test_a_usual_call_is_longer_than_the_fastest_by_a_median_over_sizes() -> None:
    """By 2, 0.5 and 1.5 s: a size that only one call disturbed does not decide."""
    samples = _samples({4: [1.0, 3.0, 3.0], 8: [2.0, 2.5, 90.0], 16: [2.0, 3.5, 4.0]})
    assert usual_over_fastest(samples) == pytest.approx(1.5)


def test_beside_computing_no_call_is_an_idle_one() -> None:
    assert usual_over_fastest(_samples({4: [1.0, 3.0]}, load_s=0.005)) is None
