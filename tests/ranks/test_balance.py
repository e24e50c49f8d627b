"""Shares of a session whose devices' speeds are planted; no framework, no clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.share_course import balance_rows, last_cut, share_course, shared
from suite.contract.adapter import Inputs, RankRecord
from suite.contract.case import PARITY_STEPS, Case, Rank
from suite.contract.records import read_records
from suite.contract.workloads import Weights
from suite.ranks.balance import Balance
from suite.ranks.train import MeasuredTraining, run_rank
from tests.fake_adapter.adapters.fake.session import FakeSession

SLOW_FROM = 16
UNITS_S, MOVE_S = 1e-3, 0.25


class Uneven(FakeSession):
    """Device 1 takes twice as long for a sample from a step on; figures come a step late."""

    def __init__(self, case: Case, rank: Rank, weights: Weights) -> None:
        super().__init__(case, rank, weights)
        self.shares: Sequence[int] = case.planned_shares
        self.busy: list[list[float]] = []
        self.telling, self.told, self.taken = False, 0, 0

    def step(self, index: int) -> int:
        if self.telling:
            slower = 2e-3 if index >= SLOW_FROM else 1e-3
            self.busy.append([1e-3 * self.shares[0], slower * self.shares[1]])
        return index

    def tell_busy(self, on: bool) -> None:
        self.telling = on

    def busy_seconds(self) -> Sequence[Sequence[float]]:
        self.told += 1
        return [self.busy[self.told - 2]] if self.told > 1 else []

    def take_shares(self, shares: Sequence[int]) -> None:
        assert self.telling
        self.shares, self.taken = shares, self.taken + 1


def _case(**fields: object) -> Case:
    values = {"framework": "fake", "engine": "numpy", "strategy": "data", "variant": "",
              "workload": "mlp", "size": "tiny", "data": "synthetic", "device": "cpu",
              "devices": 2, "steps": 12, "probe_steps": 2, "warmup_limit": 20,
              "balance": "dynamic"} | fields
    return Case(**values)  # type: ignore[arg-type]


@pytest.fixture
def record(tmp_path: Path) -> RankRecord:
    made: list[Uneven] = []

    def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Uneven:
        made.append(Uneven(case, rank, weights))
        return made[0]

    inputs = Inputs(np.zeros((64, 8)), np.zeros(64), 64)
    run_rank(_case(), Rank(0, 1, tmp_path), inputs, open_session)  # type: ignore[arg-type]
    assert made[0].taken >= 1 and not made[0].telling
    (found,) = read_records([json.loads((tmp_path / "rank-0.json").read_text())])
    return found


def test_shares_follow_the_devices_and_are_kept_step_by_step(record: RankRecord) -> None:
    clean = len(record.step_seconds) + len(record.warmup_seconds)
    assert len(record.shares) == clean and len(record.share_busy_seconds) == clean - 1
    assert record.shares[SLOW_FROM] == [32, 32] and record.shares[-1] == [43, 21]
    busy = np.array(record.share_busy_seconds)
    imbalance = busy.max(1) / busy.mean(1)
    assert imbalance[SLOW_FROM] == pytest.approx(4 / 3)
    assert imbalance[SLOW_FROM + 10:].max() < 1.1
    assert record.figures["load_balance_shares"] < 1.1
    assert record.figures["share_changes"] == 1.0


def test_a_course_and_a_table_are_made_of_the_record(record: RankRecord) -> None:
    course = share_course([[record]])
    assert course is not None and course.shares == record.shares[:-1]
    assert course.kind == "samples" and last_cut(course) == ""
    rows = list(balance_rows("one", [None, [record]]))
    assert len(rows) == 2 * len(record.shares)
    assert rows[0] == {"case_id": "one", "launch": 1, "step": 0, "device": 0, "samples": 32,
                       "busy_s": pytest.approx(0.032), "units": None}
    assert rows[-1]["busy_s"] is None
    assert share_course([[RankRecord(0)]]) is None and not list(balance_rows("one", [None]))


def test_other_ranks_decide_and_keep_nothing() -> None:
    record = RankRecord(1)
    session = Uneven(_case(), Rank(1, 2, Path()), {})
    shares = Balance(session, session.case, record)  # type: ignore[arg-type]
    shares.turn(on=True)
    for index in range(SLOW_FROM + PARITY_STEPS):
        session.step(index)
        shares.after_step()
    assert tuple(session.shares) == (43, 21) and not record.shares
    assert shares.figures(10) == {}


def test_a_session_that_cannot_is_an_error_and_a_static_case_is_left_alone() -> None:
    plain = FakeSession(_case(), Rank(0, 1, Path()), {})
    with pytest.raises(TypeError, match="FakeSession cannot change shares"):
        Balance(plain, _case(), RankRecord(0))  # type: ignore[arg-type]
    session = Uneven(_case(balance="static"), Rank(0, 1, Path()), {})
    shares = Balance(session, session.case, RankRecord(0))  # type: ignore[arg-type]
    shares.turn(on=True)
    shares.after_step()
    assert not session.telling and session.told == 0


class Staged(FakeSession):
    """Device 1 takes three times as long for a unit from a step on; four steps are told at once."""

    def __init__(self, case: Case, rank: Rank, weights: Weights) -> None:
        super().__init__(case, rank, weights)
        self.cut: Sequence[int] = case.planned_cut
        self.kept: list[list[float]] = []
        self.telling, self.clock_s, self.cuts = False, 0.0, [case.planned_cut]

    def step(self, index: int) -> int:
        slower = 3 * UNITS_S if index >= SLOW_FROM else UNITS_S
        busy = [UNITS_S * self.cut[0], slower * self.cut[1]]
        self.clock_s += max(busy)
        if self.telling:
            self.kept.append(busy)
        return index

    def now(self) -> float:
        return self.clock_s

    def tell_busy(self, on: bool) -> None:
        self.telling, self.kept = on, []

    def busy_seconds(self) -> Sequence[Sequence[float]]:
        if len(self.kept) < 4:
            return []
        told, self.kept = self.kept, []
        return told

    def take_cut(self, cut: Sequence[int]) -> None:
        assert self.telling
        self.clock_s += MOVE_S
        self.cut = tuple(cut)
        self.cuts.append(tuple(cut))


def test_layers_follow_the_devices_outside_of_steps(tmp_path: Path) -> None:
    case = _case(strategy="inter_layer", variant="1f1b", workload="gpt", steps=20)
    session = Staged(case, Rank(0, 1, tmp_path), {})
    training = MeasuredTraining(session, case, Rank(0, 1, tmp_path), session.now)  # type: ignore[arg-type]
    record = training.measure()
    assert session.cuts == [(2, 2), (3, 1)] and not session.telling
    # No step has the seconds of the move in it.
    assert max([*record.warmup_seconds, *record.step_seconds]) < MOVE_S / 2
    assert record.step_seconds[-1] == pytest.approx(3 * UNITS_S)
    assert record.shares[SLOW_FROM] == [2, 2] and record.shares[-1] == [3, 1]
    assert record.figures["cut_moves_s"] == pytest.approx(MOVE_S)
    assert record.figures["share_changes"] == 1.0
    assert record.figures["load_balance_shares"] == pytest.approx(1.0)
    course = share_course([[record]], shared(case))
    assert course is not None and course.kind == "units" and last_cut(course) == "3,1"
    rows = list(balance_rows("one", [[record]], shared(case)))
    assert rows[0]["units"] == 2 and rows[0]["samples"] is None


def test_stages_of_a_session_that_moves_no_layers_are_an_error() -> None:
    case = _case(strategy="inter_layer", variant="1f1b", workload="gpt")
    with pytest.raises(TypeError, match="FakeSession cannot move layers"):
        Balance(FakeSession(case, Rank(0, 1, Path()), {}), case, RankRecord(0))  # type: ignore[arg-type]
