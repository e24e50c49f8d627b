"""Speedups over one device and over fewer hosts, by planted step times in the same blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.ledger import MUST_EQUAL
from suite.analysis.speedups import add_host_speedups, add_speedup, host_series
from suite.contract.row import Row

LEDGER = dict.fromkeys(MUST_EQUAL, "same")


def _row(name: str, step_s: float, devices: int = 1, **more: object) -> Row:
    launches: list[float | None] = [step_s * drift for drift in (1.0, 1.1, 0.9, 1.0, 1.05, 0.95)]
    row = Row(case_id=name, launch_step_s=launches, step_time_s=step_s, devices=devices,
              strategy="data" if devices > 1 else "single", ledger=LEDGER)
    return replace(row, **more)  # type: ignore[arg-type]


def test_a_speedup_is_over_the_base_and_its_efficiency_by_device() -> None:
    base, row = _row("single", 3.0), _row("data", 2.0, devices=2)
    add_speedup(row, base)
    assert (row.base_case_id, row.base_step_time_s, row.verdict) == ("single", 3.0, "faster")
    assert row.speedup == pytest.approx(1.5) and row.efficiency == pytest.approx(0.75)
    assert row.speedup_ci_low == pytest.approx(1.5) == row.speedup_ci_high
    assert row.efficiency_ci_low == pytest.approx(0.75) == row.efficiency_ci_high
    add_speedup(base, base)
    assert base.verdict == "" and base.speedup == pytest.approx(1.0)
    alone = _row("data", 2.0, devices=2)
    add_speedup(alone, None)
    assert alone.speedup is None and alone.base_case_id == ""


def test_what_no_block_holds_with_its_base_has_no_speedup() -> None:
    row = _row("data", 2.0, devices=2, launch_step_s=[None] * 6)
    add_speedup(row, _row("single", 3.0))
    assert row.base_case_id == "single" and row.speedup is None


def test_more_hosts_are_held_against_the_fullest_of_the_fewest() -> None:
    rows = [_row("one", 9.0, hosts=1), _row("two", 8.0, 2, hosts=1), _row("four", 6.0, 4, hosts=1),
            _row("eight", 4.0, 8, hosts=2), _row("other", 1.0, 8, hosts=2, framework="x")]
    add_host_speedups(rows)
    eight = rows[3]
    assert (eight.host_base_case_id, eight.host_speedup) == ("four", pytest.approx(1.5))
    assert eight.host_efficiency == pytest.approx(0.75)
    assert eight.host_speedup_ci_low == pytest.approx(1.5) == eight.host_speedup_ci_high
    # Another framework has no row on fewer hosts, and the base is none of itself.
    assert [row.host_speedup for row in (*rows[:3], rows[4])] == [None] * 4
    lost = _row("lost", 4.0, 8, hosts=2, launch_step_s=[None] * 6)
    add_host_speedups([rows[2], lost])
    assert lost.host_speedup is None and lost.host_base_case_id == ""


def test_a_mesh_grows_along_its_data_axis() -> None:
    series = [host_series(_row("a", 1.0, 4, mesh=mesh)) for mesh in (
        "data=2,intra_layer=2", "data=4,intra_layer=2", "data=2,intra_layer=4", "")]
    assert series[0] == series[1] and len(set(series)) == 3
