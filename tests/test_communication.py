"""Planted waits, transfers and imbalance."""

import pytest

from suite.analysis.communication import communication, load_balance


def _record(start: float, end: float, busy: float, kind: str = "all_reduce") -> dict:
    event = {"kind": kind, "payload_bytes": 100, "start_s": start, "end_s": end}
    return {"traces": [{"events": [event], "compute_s": [busy], "missing": ""}]}


def test_late_rank_makes_the_other_wait() -> None:
    found = communication([_record(0.0, 0.060, 1.0), _record(0.050, 0.061, 1.0)])
    assert found["t_comm_wait_s"] == pytest.approx(0.050 / 2)
    assert found["t_comm_transfer_s"] == pytest.approx(0.011)
    assert found["t_comm_s"] == pytest.approx((0.060 + 0.011) / 2)
    assert found["comm_count"] == 1
    assert found["comm_bytes"] == 100


def test_hops_have_no_wait() -> None:
    found = communication([_record(0, 1, 1, "send_recv"), _record(2, 3, 1, "send_recv")])
    assert found["comm_count"] == 2
    assert "t_comm_wait_s" not in found


def test_two_to_one_load() -> None:
    found = load_balance([_record(0, 1, 2.0), _record(0, 1, 1.0)])
    assert found["load_balance"] == pytest.approx(4 / 3)


def test_nothing_traced_is_nothing() -> None:
    assert communication([{"traces": []}]) == {}
