"""Parts of a step: planted, and adding up."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest

from suite.analysis.traced import reduce_launch, traced_columns
from suite.contract.case import Case
from suite.contract.records import RankRecord, StepTrace
from suite.contract.row import Row
from suite.report.breakdown import Breakdown, breakdown
from tests.planted_run import small_run


def _row(**more: Any) -> Row:
    found = Row(status="ok", devices=2, step_time_s=0.100, clocked_step_s=0.110,
                compute_avg_s=0.066, t_comm_exposed_s=0.022, t_comm_wait_s=0.010,
                t_comm_transfer_s=0.030)
    return replace(found, **more)


def test_shares_of_the_probed_step_are_applied_to_the_clean_one() -> None:
    found = breakdown(_row())
    assert found is not None
    assert astuple(found) == pytest.approx((0.060, 0.0, 0.015, 0.005, 0.020))
    assert found.shares() == pytest.approx((0.60, 0.0, 0.15, 0.05, 0.20))


def test_dispatch_is_a_part_of_its_own_where_t_i_is_without_it() -> None:
    """Of 66 ms in which the device is busy, 44 are T_i; an older row has 66 as T_i."""
    found = breakdown(_row(compute_avg_s=0.044, busy_avg_s=0.066))
    assert found is not None
    assert astuple(found) == pytest.approx((0.040, 0.020, 0.015, 0.005, 0.020))


def test_a_single_device_has_no_communication() -> None:
    found = breakdown(_row(devices=1, t_comm_exposed_s=None))
    assert found == Breakdown(pytest.approx(0.060), 0.0, 0.0, 0.0, pytest.approx(0.040))


def test_parts_beyond_their_step_are_scaled_to_fill_it() -> None:
    found = breakdown(_row(compute_avg_s=0.100))
    assert found is not None and found.rest_s == pytest.approx(0.0, abs=1e-12)
    assert sum(astuple(found)) == pytest.approx(0.100)


@pytest.mark.parametrize(
    "missing", ["compute_avg_s", "clocked_step_s", "t_comm_exposed_s", "t_comm_wait_s"]
)
def test_what_was_not_measured_is_not_split(missing: str) -> None:
    assert breakdown(_row(**{missing: None})) is None


def test_every_row_of_a_run_adds_up() -> None:
    rows = [row for row in small_run().rows() if breakdown(row)]
    assert len(rows) > 20
    for row in rows:
        found = breakdown(row)
        assert found and sum(astuple(found)) == pytest.approx(row.step_time_s)
        assert min(astuple(found)) >= 0


def test_planted_clocks_give_the_step_they_were_read_in() -> None:
    """Two devices of one launch: 60 and 80 ms of compute in a step of 100 ms."""
    case = Case("fake", "numpy", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)
    records = [_record(busy) for busy in (0.060, 0.080)]
    reduced = reduce_launch(case, records)
    assert reduced is not None
    found = traced_columns(case, [reduced])
    assert found["device_compute_s"] == pytest.approx([0.060, 0.080])
    assert found["clocked_step_s"] == pytest.approx(0.100)
    assert found["slowest_device"] == "device 1"


def _record(busy: float) -> RankRecord:
    trace = StepTrace(busy=[[(5.0, 1.0), (5.1, 1.0 + busy)]])
    return RankRecord(0, step_seconds=[0.1], timed_step_seconds=[0.1], traces=[trace] * 3)
