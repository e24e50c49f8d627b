"""Where a launch's seconds go: every phase once, and what is left is the processes' own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.contract.records import RankRecord, read_records
from suite.measure.harness_time import HarnessTime
from suite.report.harness_profile import COLUMNS, OUTSIDE, harness_profile, phase_seconds
from tests.conftest import Launch

CASE = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)


def _result(phases: list[dict[str, float]], seconds: float) -> CaseResult:
    result = CaseResult(CASE)
    records = [RankRecord(rank, phases=one) for rank, one in enumerate(phases)]
    result.put(0, records, [0, 1], None, seconds)
    return result


def test_a_phase_is_as_long_as_its_slowest_rank() -> None:
    slow = {"import": 2.0, "proof": 1.0, "traced steps": 0.5, "silent steps": 0.25}
    (found,) = phase_seconds(_result([slow, slow | {"import": 1.0, "proof": 1.5}], 5.0))
    assert (found["import"], found["proof"], found["probes"]) == (2.0, 1.5, 0.75)
    assert found[OUTSIDE] == pytest.approx(5.0 - 3.75) and found["launch"] == 5.0


def test_the_parts_of_a_line_add_up_to_its_launch_though_only_some_launches_are_probed() -> None:
    result = _result([{"proof": 1.0, "timed steps": 2.0}], 3.5)
    for number in (1, 2):
        result.put(number, [RankRecord(0, phases={"proof": 1.0})], [0], None, 1.5)
    console = Console(width=200, record=True)
    console.print(*harness_profile([result], {}))
    line = next(line for line in console.export_text().splitlines() if "pytorch data" in line)
    count, *parts, launch = (float(cell) for cell in line.split("│")[2:-1])
    assert count == 3 and parts[list(COLUMNS).index("probes")] == 0.67
    assert sum(parts) == pytest.approx(launch, abs=0.02)


def test_launches_of_earlier_releases_are_left_out_and_said() -> None:
    assert phase_seconds(_result([{}, {}], 5.0)) == []
    console = Console(width=160, record=True)
    console.print(*harness_profile([_result([{}, {}], 5.0)], {}))
    text = console.export_text()
    assert "No launch here recorded its phases" in text and "not recorded" in text


def test_a_real_launch_accounts_for_all_its_seconds(fake: Case, start: Launch) -> None:
    outcome, _ = start(replace(fake, probe_steps=2))
    assert outcome.status == "ok", outcome.reason
    records = read_records(outcome.records)
    known = {phase for phases in COLUMNS.values() for phase in phases}
    assert all(set(record.phases) == known for record in records)
    result = CaseResult(fake)
    result.put(0, records, [0, 1], None, outcome.seconds)
    (found,) = phase_seconds(result)
    parts = sum(found[name] for name in (*COLUMNS, OUTSIDE))
    assert parts == pytest.approx(outcome.seconds, rel=0.3)
    assert all(seconds >= 0.0 for seconds in found.values())


def test_the_harness_adds_up_its_own_seconds(tmp_path: Path) -> None:
    now = iter([0.0, 1.0, 3.0, 10.0, 10.5])
    own = HarnessTime({"saving": 1.0}, lambda: next(now))
    with own.of("saving"):
        pass
    with pytest.raises(ValueError, match="planted"), own.of("judging"):
        raise ValueError("planted")
    assert own.seconds == {"saving": 3.0, "judging": 0.5}


def test_what_may_take_a_share_of_the_sitting() -> None:
    """Ten seconds are free, then a twentieth; what an earlier sitting took does not count."""
    now = 0.0
    own = HarnessTime({"saving": 500.0}, lambda: now)
    assert own.affordable("saving", 10.0, 0.05)
    own.seconds["saving"] += 10.5
    assert not own.affordable("saving", 10.0, 0.05)
    now = 10.0
    assert own.affordable("saving", 10.0, 0.05)
