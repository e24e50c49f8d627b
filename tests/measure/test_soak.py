"""The soak tells a fault that was planted from one that was not, and what grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite.config.model import RunConfig
from suite.contract.faults import KINDS, MOMENT, Fault
from suite.launch.group import LaunchRequest, Outcome
from suite.measure import soak
from suite.measure.leaks import own_temporary_files
from suite.measure.soak import Round, Soak, growth
from tests.synthetic import CASES, Planted, Still

SMOKE = RunConfig(repeats=1, steps=12, link=False, seed=3)


class Struck:
    """A launcher under which every planted fault ends as it has to, and nothing else fails."""

    def __init__(self, status: str = "") -> None:
        self.whole, self.status = Planted({}, 0), status
        self.drawn: list[Fault] = []

    def __call__(self, request: LaunchRequest) -> Outcome:
        text = request.settings.get("SUITE_PLANTED_FAULT")
        if text is None:
            return replace(self.whole(request), seconds=1.0)
        fault = Fault.read(text)
        self.drawn.append(fault)
        (request.folder / MOMENT).write_text(json.dumps({"began_at_s": 0.0}))
        status = self.status or KINDS[fault.kind].statuses[-1]
        assert request.timeout_seconds <= 60.0
        return Outcome(status, "planted", 1.0, [])


@pytest.fixture(autouse=True)
def _own(tmp_path: Path) -> Iterator[None]:
    with own_temporary_files(tmp_path / "tmp"):
        yield


def _soaked(folder: Path, launcher: Struck, seconds: float = 6.0) -> list[Round]:
    ticks = iter(range(100))
    made = Soak(SMOKE, CASES, folder, "nobody", launcher, Still())  # type: ignore[arg-type]
    return list(made.rounds(seconds, lambda: float(next(ticks))))


def test_rounds_are_bounded_and_drawn_by_the_seed(tmp_path: Path) -> None:
    first, again = Struck(), Struck()
    rounds = _soaked(tmp_path / "a", first)
    assert [one.number for one in rounds] == [1, 2, 3, 4, 5]
    assert [one.faults for one in rounds] == [one.faults for one in _soaked(tmp_path / "b", again)]
    assert first.drawn == again.drawn and len(first.drawn) >= 2
    assert not any(one.problems or one.leaks or one.survivors for one in rounds)
    assert not list((tmp_path / "a").iterdir())


def test_a_fault_that_nobody_noticed_is_a_problem(tmp_path: Path) -> None:
    rounds = _soaked(tmp_path / "a", Struck("unsupported?"))
    words = "; ".join(problem for one in rounds for problem in one.problems)
    assert "is unsupported?: planted" in words


def test_a_failure_that_nobody_planted_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "FAULT_SHARE", 0.0)
    launcher = Struck()
    launcher.whole.failing = {CASES[1].case_id}
    rounds = _soaked(tmp_path / "a", launcher)
    words = "; ".join(problem for one in rounds for problem in one.problems)
    assert f"{CASES[1].case_id} with no fault is failed" in words


def test_growth_of_the_harness_is_a_trend_only_beyond_noise() -> None:
    flat = [Round(number, resident_bytes=(300 << 20) + number % 3) for number in range(9)]
    rising = [Round(number, resident_bytes=(300 + 10 * number) << 20) for number in range(9)]
    assert growth(flat)[1] is False and growth(flat[:2]) == (0, False)
    assert growth(rising) == (60 << 20, True)
