"""run.json and records that no run wrote so are refused, wherever in them the mistake is."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.cli.history import build_series
from suite.contract.errors import UsageError
from suite.report.html import render
from suite.report.terminal import comparison
from suite.runfolder.reading import read_run
from suite.runfolder.samples import FILE
from tests.synthetic import make_run

SAMPLE = Path(__file__).parents[2] / "results" / "sample"
DEEP = json.loads("[" * 100 + "]" * 100)
STRANGE = [None, float("nan"), 1e308, 10**400, -1, "x", [], {}, DEEP]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema") / "run"
    make_run(folder, repeats=2)
    return folder


def _places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member, and of a list the first."""
    if path:
        yield path
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _places(value, (*path, name))
    elif isinstance(content, list) and content:
        yield from _places(content[0], (*path, 0))


def _changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


def _use(folder: Path, from_records: bool = False) -> str:
    """What every reading command does; the error in words."""
    try:
        stored = read_run(folder, from_records)
        rows = stored.rows()
        list(comparison(rows, 120, str(folder)))
        render(stored.run, rows, stored.losses, [], stored.fits)
        build_series([("2026-01-01T00:00:00+00:00", stored.run, rows)])
    except UsageError as error:
        return str(error)
    return ""


def test_any_member_of_run_json_may_be_anything(run: Path) -> None:
    whole = json.loads((run / "run.json").read_text())
    refused = 0
    for number, path in enumerate(_places(whole)):
        # Each place with three of the values in turn: all of them take a minute.
        for value in (STRANGE * 2)[number % len(STRANGE) :][:3]:
            (run / "run.json").write_text(json.dumps(_changed(whole, path, value)))
            refused += bool(_use(run))
    (run / "run.json").write_text(json.dumps(whole))
    assert refused > 50 and _use(run) == ""


@pytest.mark.parametrize(("path", "value", "words"), [
    (("blocks", 0, "load"), None, "blocks.0.load"),
    (("environment", "memory_bytes"), float("nan"), "environment.memory_bytes"),
    (("cases", 0, "case", "devices"), 10**400, "cases.0.case.devices"),
    (("command_line",), {"a": 1}, "command_line"),
])
def test_the_place_of_the_mistake_is_said(
    run: Path, path: tuple[Any, ...], value: Any, words: str
) -> None:
    whole = (run / "run.json").read_text()
    (run / "run.json").write_text(json.dumps(_changed(json.loads(whole), path, value)))
    said = _use(run)
    (run / "run.json").write_text(whole)
    assert words in said and "run.json" in said and "Fix:" in said


def test_records_that_no_rank_wrote_so(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    record = next((tmp_path / "run" / "cases").glob("pytorch.data*/launch-0/rank-0.json"))
    whole = json.loads(record.read_text())
    for number, path in enumerate(_places(whole)):
        for value in (STRANGE * 2)[number % len(STRANGE) :][:3]:
            record.write_text(json.dumps(_changed(whole, path, value)))
            _use(tmp_path / "run", from_records=True)
    record.write_text(json.dumps(whole | {"step_seconds": ["x"]}))
    assert "rank-0.json: step_seconds.0" in _use(tmp_path / "run", from_records=True)


def test_a_store_that_was_damaged(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    connection = sqlite3.connect(tmp_path / "run" / FILE)
    with connection:
        connection.execute("UPDATE launch SET content = '{\"outcome\": 3}'")
    connection.close()
    assert "launches as a run writes them" in _use(tmp_path / "run")
    path = tmp_path / "run" / FILE
    path.write_bytes(b"\0" * 4096)  # no database: the ranks' records stand in for it
    assert _use(tmp_path / "run") == ""


def test_whole_numbers_stay_whole(run: Path) -> None:
    written = json.loads((SAMPLE / "run.json").read_text())
    assert read_run(SAMPLE).run["environment"]["memory_bytes"] == written["environment"][
        "memory_bytes"] and isinstance(read_run(run).run["blocks"][0]["block"], int)
