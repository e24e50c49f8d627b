"""Clocks of several hosts: a planted offset is found, and records are moved by it."""

from __future__ import annotations

import random

import pytest

from suite.contract.clocks import ClockOffset, RoundTrip, best_offset, on_one_clock

AHEAD_S, DATE_S = 1000.0, 1_795_000_000.0


def _trip(random_: random.Random, sent: float) -> RoundTrip:
    """There and back take at least 0.1 ms each, and now and then much longer one way."""
    there, back = (1e-4 + random_.expovariate(1000.0) for _ in range(2))
    return RoundTrip(sent, sent + there + back, DATE_S + sent + there + back,
                     sent + there + AHEAD_S, DATE_S + sent + there + 5.0)


def test_the_fastest_round_trip_tells_the_offset_within_its_uncertainty() -> None:
    random_ = random.Random(3)
    for _ in range(200):
        found = best_offset([_trip(random_, float(number)) for number in range(20)])
        assert abs(found.seconds - AHEAD_S) <= found.uncertainty_s < 1e-3
        assert abs(found.date_seconds - 5.0) <= found.uncertainty_s + 1e-6


def test_the_mean_of_two_readings_covers_the_drift() -> None:
    mean = ClockOffset.mean(ClockOffset(1.0, 2.0, 1e-4), ClockOffset(1.5, 2.5, 2e-4))
    assert mean == ClockOffset(1.25, 2.25, 0.25)


def _record(rank: int, origin: float) -> dict[str, object]:
    event = {"kind": "all_reduce", "payload_bytes": 8, "start_s": origin + 1.0,
             "end_s": origin + 2.0, "device": 0, "key": "k", "role": "member"}
    trace = {"events": [event], "busy": [[(origin, 0.0), (origin + 2.0, 0.5)]],
             "queued": [(origin + 1.0, 0.0)], "missing": "", "seconds": 2.0, "operations_s": 0.0}
    return {"rank": rank, "traces": [trace], "profiles": [], "figures": {"told": 1.0}}


@pytest.mark.parametrize(("origin", "offset"), [(50.0, AHEAD_S), (DATE_S, 5.0)])
def test_records_come_onto_the_harness_s_clock(origin: float, offset: float) -> None:
    """Of either clock: times that an adapter reads as dates are moved by the dates' offset."""
    here, there = _record(0, origin), _record(1, origin + offset)
    moved = on_one_clock([here, there], {1: ClockOffset(AHEAD_S, 5.0, 2e-4)})
    assert moved[0]["traces"] == here["traces"]
    trace, expected = moved[1]["traces"][0], _record(1, origin)["traces"][0]  # type: ignore[index]
    assert trace["events"] == expected["events"]
    assert [tuple(p) for p in trace["busy"][0]] == expected["busy"][0]
    assert trace["queued"] == expected["queued"]
    assert moved[1]["figures"] == {"told": 1.0, "clock_uncertainty_s": 2e-4}
    assert there == _record(1, origin + offset)  # what was written stays as it is
