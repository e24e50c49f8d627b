"""The autotuner's log, and the steps that it is given before a case begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.horovod import TRAITS
from adapters.horovod.training import autotuner
from adapters.horovod.training.autotuner import log_path, read_choice, settled
from suite.contract.case import Case, Rank
from suite.contract.splits.strategies import AUTOTUNED

CASE = Case("horovod", "torch", "data", AUTOTUNED, "mlp", "tiny", "synthetic", "cpu", 2)
HEAD = ("hierarchical_allreduce,hierarchical_allgather,torus_allreduce,cache_enabled,"
        "cycle_time_ms,tensor_fusion_threshold,score\n")
TRIED = "0,0,0, 1,5,4,101.25\n"
CHOSEN = "0,0,0, 1,2.75,16.5,140.5\n"
SAID = {"cycle_time_ms": "2.75", "fusion_threshold_bytes": "17301504", "autotuned_of": "9"}


@pytest.fixture(autouse=True)
def effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(autotuner.SAMPLES, TRAITS.environment[autotuner.SAMPLES])


class Steps:
    """A session whose autotuner has written that much after each step."""

    settings: Any = None

    def __init__(self, rank: Rank, after: int) -> None:
        self.rank, self.after, self.run = rank, after, 0

    def step(self, index: int) -> None:
        self.run = index + 1
        text = HEAD + 9 * TRIED + CHOSEN * (self.run >= self.after)
        log_path(self.rank).write_text(text)

    def synchronize(self) -> None:
        pass


_told = SimpleNamespace(broadcast_object=lambda value, root_rank, name: value)


def _settled(folder: Path, case: Case = CASE, after: int = 33) -> list[Any]:
    """All sessions that were built; the last one is what the rank trains with."""
    built: list[Any] = []
    rank = Rank(0, 2, folder)

    def build() -> Any:
        built.append(Steps(rank, after))
        return built[-1]

    assert settled(case, rank, _told, build)
    return built


@pytest.mark.parametrize("text", ["", HEAD, HEAD + 3 * TRIED, HEAD + 9 * TRIED])
def test_a_log_without_the_last_line_chooses_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "autotune.csv"
    assert read_choice(path) is None
    path.write_text(text)
    assert read_choice(path) is None


def test_the_last_line_is_the_choice(tmp_path: Path) -> None:
    path = tmp_path / "autotune.csv"
    path.write_text(HEAD + 9 * TRIED + CHOSEN)
    assert read_choice(path) == SAID


def test_steps_go_on_until_it_has_chosen_and_the_case_begins_anew(tmp_path: Path) -> None:
    tuned, trained = _settled(tmp_path)
    assert tuned.run == 40
    assert (trained.run, trained.settings) == (0, SAID)


def test_other_variants_are_built_once(tmp_path: Path) -> None:
    (trained,) = _settled(tmp_path, replace(CASE, variant=""))
    assert (trained.run, trained.settings) == (0, {})


def test_a_search_without_an_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotuner, "MOST_STEPS", 50)
    with pytest.raises(RuntimeError, match="within 50 steps"):
        _settled(tmp_path, after=1000)
