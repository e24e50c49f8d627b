"""Planted waits, transfers, exposure and imbalance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.analysis.communication import communication, missing_reason, payloads, waits
from suite.analysis.compute import compute_seconds, idle_share, load_balance
from suite.contract.records import CommEvent, RankRecord, StepTrace

Clock = list[list[float]]


def _event(start: float, end: float, key: str = "sum", **more: Any) -> CommEvent:
    return replace(CommEvent("all_reduce", 100, start, end, key=key), **more)


def _hop(start: float, end: float, role: str, device: int = 0) -> CommEvent:
    return _event(start, end, "0>1#0", kind="send_recv", role=role, device=device)


def _record(events: list[CommEvent], *busy: Clock) -> RankRecord:
    return RankRecord(0, traces=[StepTrace(events, list(busy), "T_i: no clock")])


def test_late_rank_makes_the_other_wait() -> None:
    found = communication([_record([_event(0.0, 0.060)]), _record([_event(0.050, 0.061)])])
    assert found["t_comm_wait_s"] == pytest.approx(0.050 / 2)
    assert found["t_comm_transfer_s"] == pytest.approx(0.011)
    assert found["t_comm_s"] == found["t_comm_all_reduce_s"] == pytest.approx(0.071 / 2)
    assert (found["comm_count"], found["comm_bytes"]) == (1, 100)
    assert waits([_record([_event(0.0, 0.060)]), _record([_event(0.050, 0.061)])]) == [0.05, 0.0]


def test_order_of_the_events_does_not_matter() -> None:
    one = [_event(0, 3, "a"), _event(1, 2, "b")]
    found = communication([_record(one), _record([_event(1, 2, "b"), _event(0.5, 3, "a")])])
    assert found["comm_count"] == 2 and found["t_comm_wait_s"] == pytest.approx(0.25)


def test_b_times_n_is_what_a_step_moves() -> None:
    """Steps of 3 and of 5 fused operations, 300 bytes all told in each."""
    def step(count: int) -> StepTrace:
        return StepTrace([_event(i, i + 1, f"{i}", payload_bytes=300 // count)
                          for i in range(count)])

    found = communication([RankRecord(0, traces=[step(3), step(5)])])
    assert found["comm_count"] == 4 and found["comm_count"] * found["comm_bytes"] == 300


def test_a_hop_waits_for_its_sender_and_counts_once() -> None:
    sender, receiver = _record([_hop(2.0, 9.0, "send")]), _record([_hop(0.0, 2.5, "recv")])
    found = communication([sender, receiver])
    assert found["comm_count"] == 1 and found["comm_bytes"] == 100
    # The sender has none in flight: means are over both devices.
    assert found["t_comm_s"] == found["t_comm_send_recv_s"] == pytest.approx(2.5 / 2)
    assert found["t_comm_wait_s"] == pytest.approx(2.0 / 2)
    assert found["t_comm_transfer_s"] == pytest.approx(0.5 / 2)


def test_an_early_sender_causes_no_wait() -> None:
    found = communication([_record([_hop(0, 1, "send")]), _record([_hop(3.0, 3.5, "recv")])])
    assert found["t_comm_wait_s"] == 0 and found["t_comm_transfer_s"] == pytest.approx(0.25)


def test_devices_of_one_process_are_devices() -> None:
    found = communication([_record([_hop(2, 2, "send"), _hop(0, 3, "recv", device=1)])])
    assert found["t_comm_s"] == pytest.approx(3 / 2)


def test_overlapping_buckets_count_once() -> None:
    found = communication([_record([_event(0, 2, "a"), _event(1, 3, "b")])])
    assert found["t_comm_s"] == pytest.approx(3.0)


def test_exposed_is_what_no_compute_hides() -> None:
    # Computes until 1.5, then waits for the collective that began at 1 and ends at 3.
    clock = [[0, 0], [1, 1], [1.5, 1.5], [3, 1.5], [4, 2.5]]
    assert communication([_record([_event(1, 3)], clock)])["t_comm_exposed_s"] == 1.5
    hidden = [[0, 0], [4, 4]]
    assert communication([_record([_event(1, 3)], hidden)])["t_comm_exposed_s"] == 0


def test_exposure_falls_back_to_the_profile() -> None:
    record = _record([_event(1, 3)])
    profile = StepTrace([_event(11, 13)], [[(10, 0), (11, 1), (13, 1)]])
    found = communication([replace(record, profiles=[profile])])
    assert found["t_comm_exposed_s"] == 2 and found["t_comm_s"] == 2
    assert missing_reason([record]) == "T_i: no clock"
    assert missing_reason([replace(record, profiles=[profile])]) == ""


def test_kinds_are_told_apart() -> None:
    gather = _event(0, 1, "g", kind="all_gather")
    found = communication([_record([gather, _event(2, 4, "s")])])
    assert found["t_comm_all_gather_s"] == 1 and found["t_comm_all_reduce_s"] == 2
    assert payloads([_record([gather, _event(2, 4, "s")])]) == {
        "all_gather": [100], "all_reduce": [100],
    }


def test_two_to_one_load() -> None:
    found = load_balance([_record([], [[0, 0], [2, 2]]), _record([], [[0, 0], [2, 1]])])
    assert found["load_balance"] == found["load_balance_step"] == pytest.approx(4 / 3)


def test_imbalance_that_moves_about_shows_per_step() -> None:
    found = load_balance([
        RankRecord(rank, traces=[StepTrace(busy=[[(0, 0), (2, b)]]) for b in seconds])
        for rank, seconds in enumerate([(2, 1), (1, 2)])
    ])
    assert found["load_balance"] == 1 and found["load_balance_step"] == pytest.approx(4 / 3)


def test_two_threads_of_a_device_hide_no_more_than_one() -> None:
    clock = [[0, 0], [2, 4], [4, 4]]
    record = _record([_event(1, 3)], clock)
    assert communication([record])["t_comm_exposed_s"] == 1 and idle_share([record]) == 0.5
    assert compute_seconds([record]).tolist() == [[4]]


def test_bubble_is_the_idle_share() -> None:
    assert idle_share([_record([], [[0, 0], [4, 3]], [[0, 0], [4, 1]])]) == pytest.approx(0.5)
    assert idle_share([_record([_event(0, 1)])]) is None


def test_nothing_traced_is_nothing() -> None:
    assert communication([RankRecord(0)]) == {} and load_balance([RankRecord(0)]) == {}
