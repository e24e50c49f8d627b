"""Files of pytest-benchmark that this suite did not write: read, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suite.contract.errors import UsageError
from suite.runfolder import validated
from suite.runfolder.pytest_benchmark import import_rows

GOOD: dict[str, Any] = {
    "name": "test_sort", "fullname": "tests/test_a.py::test_sort", "extra_info": {},
    "stats": {"data": [0.010, 0.011, 0.012], "min": 0.010},
}


def _file(folder: Path, *benchmarks: Any, **others: Any) -> Path:
    path = folder / "saved.json"
    path.write_text(json.dumps({"benchmarks": list(benchmarks)} | others))
    return path


@pytest.mark.parametrize("changed", [
    {"extra_info": None}, {"extra_info": {"suite": "tests of sorting"}},
    {"extra_info": {"suite": {"name": "sorting"}}}, {"params": {"n": 3}}, {"group": None},
    {"stats": {"data": [1, 2, 3]}},
])
def test_what_others_write_is_read(tmp_path: Path, changed: dict[str, Any]) -> None:
    run, rows = import_rows(_file(tmp_path, GOOD | changed))
    assert run["run_id"] == "saved" and len(rows) == 1
    assert rows[0].case_id == GOOD["fullname"] and rows[0].repeats == 3


@pytest.mark.parametrize("suite", [None, "mine", ["a"], {"run_id": 7}, {"environment": "linux"}])
def test_a_foreign_key_of_the_suites_name_is_no_run(tmp_path: Path, suite: Any) -> None:
    run, _ = import_rows(_file(tmp_path, GOOD, suite=suite))
    assert run == {"run_id": "saved", "environment": {}}


def test_the_name_stands_in_for_a_missing_full_name(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "fullname"}
    assert import_rows(_file(tmp_path, without))[1][0].case_id == "test_sort"


@pytest.mark.parametrize(("saved", "words"), [
    (GOOD | {"stats": None}, "no data"),
    (GOOD | {"stats": {"min": 0.1}}, "no data"),
    (GOOD | {"stats": {"data": []}}, "no data"),
    (GOOD | {"stats": {"data": [0.1, None]}}, "benchmarks.0.stats.data.1"),
    (GOOD | {"stats": {"data": ["fast"]}}, "benchmarks.0.stats.data.0"),
    (GOOD | {"stats": {"data": [-0.1]}}, "greater than 0"),
    (GOOD | {"stats": {"data": [0]}}, "greater than 0"),
    (GOOD | {"stats": {"data": [1e308]}}, "less than"),
    (GOOD | {"stats": {"data": [float("nan")]}}, "benchmarks.0.stats.data.0"),
    (GOOD | {"stats": {"data": 0.1}}, "benchmarks.0.stats.data"),
    (GOOD | {"stats": [0.1]}, "benchmarks.0.stats"),
    ({"stats": {"data": [0.1]}}, "benchmarks.0.name"),
    (GOOD | {"name": 7, "fullname": None}, "benchmarks.0.name"),
    (GOOD | {"extra_info": "none"}, "benchmarks.0.extra_info"),
    (GOOD | {"extra_info": {"suite": {"case_id": 1}}}, "benchmarks.0.extra_info.suite.case_id"),
    ("test_sort", "benchmarks.0"),
])
def test_what_cannot_be_read_is_said(tmp_path: Path, saved: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        import_rows(_file(tmp_path, saved))
    assert words in str(caught.value) and "saved.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"benchmarks": {}}', '{"benchmarks": null}',
                                  '{"version": "5"}', '"benchmarks"'])
def test_what_is_no_such_file_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "saved.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        import_rows(path)


def test_a_name_twice_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="each benchmark once"):
        import_rows(_file(tmp_path, GOOD, GOOD))


def test_a_huge_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validated, "LARGEST_BYTES", 10)
    with pytest.raises(UsageError, match="at most"):
        import_rows(_file(tmp_path, GOOD))
