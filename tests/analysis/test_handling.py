"""What a library's timeline says of the time between the last member's arrival and the result."""

from __future__ import annotations

import pytest

from suite.analysis.handling import Handling, handling
from suite.analysis.transfers import handling_columns
from suite.contract.records import CARRIED, HANDLED, CommEvent, RankRecord, Stage, StepTrace


def _records(
    first: list[CommEvent], second: list[CommEvent], told: list[Stage], longer: float = 1.0
) -> list[RankRecord]:
    """Two ranks: the timed step takes ``longer`` times what the traced one does."""

    def scaled(event: CommEvent) -> CommEvent:
        return CommEvent(event.kind, event.payload_bytes, longer * event.start_s,
                         longer * event.end_s, key=event.key, role=event.role)

    return [
        RankRecord(number, traces=[StepTrace(list(map(scaled, asked)))],
                   profiles=[StepTrace(asked=asked, stages=told if number == 0 else ())])
        for number, asked in enumerate([first, second])
    ]


def _member(key: str, start: float, end: float) -> CommEvent:
    return CommEvent("all_reduce", 100, start, end, key=key)


def test_a_call_is_told_apart() -> None:
    """Ready at 1 (the other at 2), taken up at 5, carried from 6 to 8, done at 9, seen at 10."""
    told = [(HANDLED, 5.0, 9.0), (CARRIED, 6.0, 8.0)]
    records = _records([_member("a", 1.0, 10.0)], [_member("a", 2.0, 10.0)], told)
    assert handling(records) == Handling(3 / 8, 2 / 8, 1 / 8)


def test_shares_are_those_of_the_traced_step_and_seconds_those_of_the_timed_one() -> None:
    told = [(HANDLED, 5.0, 9.0), (CARRIED, 6.0, 8.0)]
    asked = [_member("a", 2.0, 10.0)]
    assert handling_columns(_records(asked, asked, told, longer=0.5)) == {
        "t_comm_handling_s": pytest.approx(3.0), "t_comm_negotiation_s": pytest.approx(1.5),
        "t_comm_copy_s": pytest.approx(1.0),
    }


def test_a_tensor_that_waits_while_another_is_sent_does_not_negotiate() -> None:
    """b is ready while a is carried; between their operations the library waits for a cycle."""
    told = [(HANDLED, 1.0, 4.0), (CARRIED, 1.0, 4.0), (HANDLED, 6.0, 8.0), (CARRIED, 6.0, 8.0)]
    asked = [_member("a", 1.0, 4.0), _member("b", 2.0, 8.0)]
    assert handling(_records(asked, asked, told)) == Handling(2 / 7, 0.0, 0.0)


def test_the_end_of_a_hop_is_unknown() -> None:
    """Its sender is done before the tensor has arrived: what follows is no waking up."""
    sent = CommEvent("send_recv", 8, 1.0, 1.0, key="0>1", role="send")
    received = CommEvent("send_recv", 8, 0.5, 5.0, key="0>1", role="recv")
    records = _records([sent], [received], [(HANDLED, 3.0, 4.0), (CARRIED, 3.0, 4.0)])
    assert handling(records) == Handling(0.5, 0.0, 0.0)


def test_what_the_timeline_does_not_know_is_no_handling() -> None:
    asked = [_member("a", 1.0, 3.0), _member("b", 5.0, 7.0)]
    told = [(HANDLED, 6.0, 7.0), (CARRIED, 6.0, 7.0)]
    assert handling(_records(asked, asked, told)) == Handling(0.25, 0.0, 0.0)


def test_without_a_timeline_nothing_is_told() -> None:
    asked = [_member("a", 1.0, 3.0)]
    assert handling(_records(asked, asked, [])) is None
