"""The clocks of several hosts, brought onto one.

Waiting for a late rank is found by comparing when ranks arrive at a communication, so the times of
all ranks have to be read from one clock. On one host they are (``CLOCK_MONOTONIC``); every other
host has its own, which started when that host did.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Adapters read times from the steady clock or as seconds since 1970. A steady clock counts from a
# host's start and stays far below this; every date since 2001 lies above.
FIRST_DATE_S = 1e9


@dataclass(frozen=True)
class ClockOffset:
    """How far a host's clocks are ahead of the harness's.

    Attributes:
        seconds: Offset of the steady clock; subtracted from that host's times, it gives the
            harness's.
        date_seconds: The same of the clock that tells the date.
        uncertainty_s: Half the round trip that they were read by: the truth is within it.
    """

    seconds: float
    date_seconds: float
    uncertainty_s: float

    @classmethod
    def mean(cls, early: ClockOffset, late: ClockOffset) -> ClockOffset:
        """Returns the offsets midway between two readings; their uncertainty covers drift too."""
        drift = abs(late.seconds - early.seconds) / 2.0
        return cls(
            (early.seconds + late.seconds) / 2.0, (early.date_seconds + late.date_seconds) / 2.0,
            max(early.uncertainty_s, late.uncertainty_s, drift),
        )

    def moved(self, time: float) -> float:
        """Converts a time of that host to the harness's clock of the same kind."""
        return time - (self.date_seconds if time > FIRST_DATE_S else self.seconds)


@dataclass(frozen=True)
class RoundTrip:
    """One question for the other host's clocks, all in seconds.

    Attributes:
        sent: The harness's steady clock before the question.
        received: The same after the answer.
        date: The harness's date after the answer.
        there: The other host's steady clock when it answered.
        there_date: Its date then.
    """

    sent: float
    received: float
    date: float
    there: float
    there_date: float


def best_offset(trips: Iterable[RoundTrip]) -> ClockOffset:
    """Returns the offset that the fastest of several round trips gives.

    The other clock was read somewhere within the round trip; the middle is assumed, so that the
    error is at most half of it (D. L. Mills, RFC 5905, section 8; there the fastest is kept too).
    """
    best = min(trips, key=lambda trip: trip.received - trip.sent)
    half = (best.received - best.sent) / 2.0
    return ClockOffset(
        best.there - (best.sent + half), best.there_date - (best.date - half), half
    )


def on_one_clock(
    records: Sequence[Mapping[str, Any]], offsets: Mapping[int, ClockOffset]
) -> list[dict[str, Any]]:
    """Returns the ranks' records with all times on the harness's clock.

    Args:
        records: What ranks wrote, of training or of a link sweep, as JSON objects.
        offsets: The offset of each rank; a rank without one keeps its times.
    """
    return [_shifted(record, offsets.get(record.get("rank", -1))) for record in records]


def _shifted(record: Mapping[str, Any], offset: ClockOffset | None) -> dict[str, Any]:
    moved = copy.deepcopy(dict(record))
    if offset is None:
        return moved
    for trace in (*moved.get("traces", ()), *moved.get("profiles", ())):
        _shift_ends(trace["events"], offset)
        trace["busy"] = [_points(clock, offset) for clock in trace["busy"]]
        trace["queued"] = _points(trace.get("queued", ()), offset)
    _shift_ends(moved.get("samples", ()), offset)
    uncertainty = {"clock_uncertainty_s": offset.uncertainty_s}
    return moved | {"figures": moved.get("figures", {}) | uncertainty}


def _shift_ends(spans: Iterable[dict[str, Any]], offset: ClockOffset) -> None:
    for span in spans:
        span["start_s"], span["end_s"] = offset.moved(span["start_s"]), offset.moved(span["end_s"])


def _points(
    points: Iterable[Sequence[float]], offset: ClockOffset
) -> list[tuple[float, float]]:
    return [(offset.moved(time), value) for time, value in points]
