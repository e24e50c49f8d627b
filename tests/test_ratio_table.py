"""The table of ratios goes on where a call ended, takes turns, and says what is above 1."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from suite.contract.case import Case
from tests.reference import table as module
from tests.reference.__main__ import Comparison
from tests.reference.table import Store, arguments, cell_of, due, measure, sources, table


def _case(strategy: str, workload: str = "gpt") -> Case:
    return Case("pytorch", "torch", strategy, "", workload, "small", "real", "cpu", 2)


CASES = [_case("single"), _case("data"), _case("inter_layer", "mlp")]


def _ratio(ratio: float) -> Comparison:
    return Comparison(ratio, 1.0, ratio, ratio - 0.01, ratio + 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "ratios" / "launches.jsonl", "these")


def test_cells_take_turns_until_each_has_its_launches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def launch(case: Case, timeout_s: float) -> Comparison:
        assert timeout_s <= module.LONGEST_S
        seen.append(cell_of(case))
        if case.strategy == "data":
            raise RuntimeError("data: timeout")
        return _ratio(1.0)

    monkeypatch.setattr(module, "launch_pair", launch)
    assert measure(CASES, store, 2, time.monotonic() + 600) == ["data: timeout"]
    assert seen == ["gpt pytorch_single", "gpt pytorch_data", "mlp pytorch_inter_layer",
                    "gpt pytorch_single", "mlp pytorch_inter_layer"]


def test_the_next_call_goes_on_and_other_sources_do_not_count(store: Store) -> None:
    store.add("gpt pytorch_single", 4.0, _ratio(0.9))
    Store(store.path, "others").add("gpt pytorch_data", 4.0, _ratio(0.9))
    with store.path.open("a") as stream:
        stream.write('{"cell": "gpt pytorch_da')  # what a killed call leaves
    again = Store(store.path, "these")
    assert again.launches == store.launches
    assert due(CASES, again, 5, [], 600) == CASES[1]


def test_nothing_is_begun_that_does_not_fit(store: Store) -> None:
    for case in CASES:
        store.add(cell_of(case), 40.0 if case.strategy == "single" else 8.0, _ratio(1.0))
    assert due(CASES, store, 5, [], 30) == CASES[1]
    assert due(CASES, store, 5, [], 7) is None
    assert due(CASES, store, 1, [], 600) is None
    assert due(CASES, Store(store.path, "others"), 5, [], module.FIRST_S - 1) is None


def test_what_is_above_one_is_said(store: Store) -> None:
    store.add(cell_of(CASES[0]), 4.0, _ratio(1.005))
    store.add(cell_of(CASES[1]), 4.0, _ratio(1.02))
    store.add(cell_of(CASES[1]), 4.0, _ratio(1.04))
    lines = table(CASES, store)
    assert lines[2:4] == [
        "| gpt pytorch | 1.005 [0.995, 1.015] | 1.030 [1.020, 1.040] of 2 |  |  |",
        "| mlp pytorch |  |  |  |  |",
    ]
    assert lines[4] == ("2 of 3 cells measured, 1 of them at 1.00 or below within their interval; "
                        "above it: gpt pytorch_data 1.030")


def test_sources_are_named_by_what_they_say(tmp_path: Path) -> None:
    for part in module.SOURCES:
        (tmp_path / part).mkdir(parents=True)
    one = tmp_path / "adapters" / "one.py"
    one.write_text("1")
    first = sources(tmp_path)
    one.write_text("2")
    assert sources(tmp_path) != first
    one.write_text("1")
    assert sources(tmp_path) == first


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = arguments(["--workload", "gpt,mlp", "--minutes", "3"])
    assert (asked.workload, asked.minutes) == (["gpt", "mlp"], 3.0)
    assert Counter(map(len, (asked.column, asked.strategy))) == {4: 2}
    with pytest.raises(SystemExit, match="2"):
        arguments(["--column", "pytorch,jax"])
    assert "got jax, expected pytorch, tensorflow" in capsys.readouterr().err
