"""A rank whose device rank 0 drives: what it does at each moment, and what its record holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.contract.adapter import Inputs, StepTrace
from suite.contract.asked import NotAsAsked
from suite.contract.case import Case, Rank
from suite.contract.driven import CLEAN_ENDED, CLEAN_KEPT, Driven, Drives
from suite.contract.records import UNPROBED, CommEvent, read_clean
from suite.contract.workloads import Weights
from suite.ranks import driven, entry, train
from suite.ranks.driven import REPEATED
from suite.ranks.train import run_rank
from tests.fake_adapter.adapters.fake.session import FakeSession

CASE = Case("fake", "torch", "intra_layer", "", "mlp", "tiny", "synthetic", "cpu", 2, steps=3,
            probe_steps=1, warmup_limit=20)
TRACE = StepTrace([CommEvent("send_recv", 8, 0.0, 1e-3, key="hop", role="recv")], missing="planted")
TOLD = {"step_seconds": [0.1, 0.2, 0.3], "timed_step_seconds": [0.4], "silent_step_seconds": [],
        "traced_step_seconds": [0.5], "warmup_seconds": [1.0], "losses": [2.0], "steady": True}
PASSES = [entry.PROOF, entry.WARM_UP, entry.CLEAN, CLEAN_ENDED, CLEAN_KEPT, entry.TIMED,
          entry.TRACED, entry.SILENT, entry.PRODUCTS]
# What rank 0 knows when the clean steps are kept: the passes with probes are to come.
TOLD_BEFORE = {**TOLD, "timed_step_seconds": [], "traced_step_seconds": []}


class Served:
    """Follows a planted course of moments, and remembers what was asked of it."""

    threads = "1"

    def __init__(self, lost_in: str = "") -> None:
        self.traces: list[StepTrace] = []
        self.profiles: list[StepTrace] = []
        self.told: Mapping[str, Any] = {}
        self.lost_in, self.asked = lost_in, list[str]()

    def moments(self) -> Iterator[str]:
        for name in PASSES:
            if name == self.lost_in:
                raise ConnectionError("rank 0 has ended")
            self.told = TOLD_BEFORE if name == CLEAN_KEPT else self.told
            yield name
            self.asked.append(f"{name} over")
        self.traces, self.profiles, self.told = [TRACE], [TRACE], TOLD

    def reset_peak_memory(self) -> None:
        self.asked.append("reset")

    def peak_memory_bytes(self) -> int:
        self.asked.append("peak")
        return 123

    def device_memory_bytes(self) -> int:
        return 0

    def matmul_flops_s(self) -> float:
        return 5e9

    def describe(self) -> dict[str, str]:
        return {"threads_per_device": self.threads}

    def close(self) -> None:
        self.asked.append("close")


def _run(session: Any, folder: Path, index: int = 1) -> dict[str, Any]:
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(CASE, Rank(index, 2, folder), inputs, lambda case, rank, weights, inputs: session)
    record: dict[str, Any] = json.loads((folder / f"rank-{index}.json").read_text())
    return record


def test_a_driven_rank_has_a_record_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and traffic are those of the clean steps; wall times are those of rank 0."""
    session = Served()
    assert isinstance(session, Driven)
    counts = iter([{"eth0": 100, "lo": 5}, {"eth0": 350, "lo": 5}])
    monkeypatch.setattr(driven, "received_bytes", lambda: next(counts))
    record = _run(session, tmp_path)
    assert {name: record[name] for name in REPEATED} == TOLD
    assert record["received_bytes"] == {"eth0": 250}
    assert record["peak_memory_bytes"] == 123 and record["matmul_flops_s"] == 5e9
    assert record["traces"][0]["missing"] == "planted" and len(record["profiles"]) == 1
    assert record["host"] and record["affinity"] and record["ledger"]["start"] == "fresh"
    first = session.asked.index
    assert first("proof over") < first("reset") < first("warm-up over")
    assert first("clean steps over") < first("peak") < first(f"{CLEAN_ENDED} over")
    assert session.asked[-1] == "close"


def test_rank_0_that_ends_before_its_time_ends_the_ranks_that_it_drives(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        _run(Served(lost_in=entry.TIMED), tmp_path)
    assert (tmp_path / "phase-1").read_text() == "clean steps"
    assert not (tmp_path / "rank-1.json").exists()


def test_what_was_measured_before_the_probes_outlives_ranks_that_end_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch whose memory runs out in a pass with probes counts by what all ranks have kept."""
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(CASE, Rank(0, 2, tmp_path), inputs, Driving)
    assert not read_clean(tmp_path, 2)
    counts = iter([{"eth0": 100}, {"eth0": 350}])
    monkeypatch.setattr(driven, "received_bytes", lambda: next(counts))
    with pytest.raises(ConnectionError):
        _run(Served(lost_in=entry.TIMED), tmp_path)
    leading, following = read_clean(tmp_path, 2)
    assert {name: following[name] for name in REPEATED} == TOLD_BEFORE
    assert following["rank"] == 1 and following["host"] == leading["host"] != ""
    assert following["peak_memory_bytes"] == 123 and following["affinity"]
    assert following["received_bytes"] == {"eth0": 250}
    assert following["ledger"][UNPROBED] == leading["ledger"][UNPROBED]
    assert following["ledger"]["threads_per_device"] == "1"


def test_a_driven_rank_that_computes_otherwise_than_asked_is_refused(tmp_path: Path) -> None:
    session = Served()
    session.threads = "2"
    with pytest.raises(NotAsAsked, match="threads_per_device asked 1, found 2"):
        _run(session, tmp_path)


class Driving(FakeSession):
    """Keeps the moments that it tells of."""

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs | None = None
    ) -> None:
        super().__init__(case, rank, weights)
        self.course: list[str] = []
        self.kept: Mapping[str, Any] = {}
        self.told: Mapping[str, Any] = {}

    def moment(self, name: str, told: Mapping[str, Any] | None = None) -> None:
        self.course.append(name)
        assert (name == CLEAN_KEPT) == (told is not None)
        self.kept = json.loads(json.dumps(told)) or self.kept

    def over(self, told: Mapping[str, Any]) -> None:
        self.told = told


def test_rank_0_tells_of_every_phase_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Driving] = []
    inside: list[str] = []
    timed = train.MeasuredTraining._timed

    def watched(training: train.MeasuredTraining, step: Any) -> float:
        before = list(opened[0].course)
        seconds = timed(training, step)
        inside.extend(opened[0].course[len(before):])
        return seconds

    def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Driving:
        opened.append(Driving(case, rank, weights))
        return opened[0]

    monkeypatch.setattr(train.MeasuredTraining, "_timed", watched)
    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(CASE, Rank(0, 2, tmp_path), inputs, open_session)
    assert isinstance(opened[0], Drives) and opened[0].course == PASSES
    assert not inside
    record = json.loads((tmp_path / "rank-0.json").read_text())
    assert {name: record[name] for name in REPEATED} == json.loads(json.dumps(opened[0].told))
    assert len(record["step_seconds"]) == CASE.steps
    assert opened[0].kept == {**opened[0].told, "timed_step_seconds": [],
                              "traced_step_seconds": [], "silent_step_seconds": []}
