"""Truths planted in real training on TensorFlow, and found by the probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.analysis.communication import missing_reason, payloads
from suite.environment import installed
from suite.spec.case import Case
from suite.spec.volumes import logical_communications
from tests.conftest import launch_case
from tests.real.conftest import Measure

ADAPTER, COLUMNS = "planted_tf", ["tensorflow", "horovod"]
CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]


@pytest.mark.parametrize("workload", ["mlp", "gpt"])
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@pytest.mark.parametrize("column", COLUMNS)
def test_payloads_are_the_closed_formula(
    column: str, cell: tuple[str, str], workload: str, measure: Measure
) -> None:
    records = measure(ADAPTER, column, cell, workload=workload)
    size = "wide" if workload == "mlp" else "tiny"
    case = Case(column, "tensorflow", *cell, workload, size, "real", "cpu", 2)
    wanted: dict[str, list[int]] = {}
    for kind, payload in logical_communications(case):
        wanted.setdefault(kind, []).append(payload)
    found = payloads(records)
    assert {k: sorted(v) for k, v in found.items()} == {k: sorted(v) for k, v in wanted.items()}
    _check_shape(records)


def _check_shape(records: list[dict[str, Any]]) -> None:
    """Every hop is sent and received, and the compute clocks are clocks."""
    assert missing_reason(records) == ""
    for name in ("traces", "profiles"):
        events = [event for record in records for event in record[name][0]["events"]]
        roles = {role: [e["key"] for e in events if e["role"] == role] for role in ("send", "recv")}
        assert sorted(roles["send"]) == sorted(roles["recv"])
        assert all(event["start_s"] <= event["end_s"] for event in events)
    for record in records:
        trace = record["profiles"][-1]
        for clock in trace["busy"]:
            times, seconds = np.asarray(clock).T
            assert (np.diff(times) >= 0).all() and (np.diff(seconds) >= 0).all()
            # Devices of one process share its threads, so one of them can compute on all.
            assert 0 < seconds[-1] <= len(trace["busy"]) * (times[-1] - times[0])
            assert all(times[0] <= e["start_s"] and e["end_s"] <= times[-1]
                       for e in trace["events"])


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_silent_step_computes_all(column: str, cell: tuple[str, str], measure: Measure) -> None:
    """Pruned work would cost no CPU time; a busy machine moves it, seldom three times."""
    for record in measure(ADAPTER, column, cell):
        silent, clean = (float(record["ledger"][f"{n}step_cpu_s"]) for n in ("silent_", ""))
        assert 0.8 * clean <= silent <= 1.5 * clean


@pytest.mark.parametrize("column", [("tensorflow", "tensorflow"), ("horovod", "tensorflow")])
def test_a_timeline_is_kept_when_asked_for(column: tuple[str, str], tmp_path: Path) -> None:
    if not installed([column[0] if column[0] == "horovod" else "tensorflow-cpu"]):
        pytest.skip(f"{column[0]} is not installed")
    case = Case(*column, "data", "", "mlp", "tiny", "real", "cpu", 2, steps=1, warmup_limit=20,
                timeline=True)
    outcome = launch_case(case, tmp_path / "launch")
    assert outcome.status == "ok", outcome.reason
    trace = json.loads((tmp_path / "launch" / "timeline-0.json").read_text())
    names = {event["name"] for event in trace["traceEvents"]}
    assert any("MatMul" in name for name in names)
    assert any(name.startswith("member ") for name in names)
