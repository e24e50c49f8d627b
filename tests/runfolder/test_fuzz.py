"""Whatever a file or an option holds, it is read, or refused with what is wrong: never more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.config.model import AbConfig, RunConfig
from suite.config.resolution import read_toml
from suite.config.sweep_model import LinkConfig
from suite.config.validation import validate
from suite.contract.errors import UsageError
from suite.contract.workloads import find_workload
from suite.launch.inputs import load_data
from suite.runfolder.pytest_benchmark import import_rows
from suite.runfolder.reading import read_run
from suite.runfolder.tables import read_fits, read_probes
from tests.synthetic import make_run

# `make fuzz` draws anew and more; the tests draw the same each time, since one that fails on
# somebody else's change helps nobody.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def fuzz(examples: int) -> settings:
    return settings(deadline=None, derandomize=not EXAMPLES, database=None,
                    max_examples=EXAMPLES or examples, suppress_health_check=list(HealthCheck))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(max_size=10), inner, max_size=4), max_leaves=12)
STATS = st.fixed_dictionaries({}, optional={"data": JSON | st.lists(st.floats(), max_size=5)})
OWN = st.fixed_dictionaries({"case_id": JSON}, optional=dict.fromkeys(
    ("status", "step_time_s", "repeats", "launch_step_s", "launch_samples", "warnings"), JSON))
BENCHMARK = st.fixed_dictionaries(
    {"name": st.text(max_size=5) | JSON},
    optional={"fullname": JSON, "stats": JSON | STATS, "extra_info": JSON | st.fixed_dictionaries(
        {"suite": JSON | OWN})})
FILE = st.fixed_dictionaries({"benchmarks": JSON | st.lists(BENCHMARK, max_size=4)},
                             optional={"suite": JSON, "machine_info": JSON})


def _read_or_refused(read: Callable[[], object]) -> None:
    try:
        read()
    except UsageError as error:
        assert "Fix: " in str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzz(40)
@given(content=FILE | JSON)
def test_benchmarks_of_anybody(folder: Path, content: Any) -> None:
    path = folder / "benchmarks.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    _read_or_refused(lambda: import_rows(path))


@fuzz(40)
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize(("name", "read"), [
    ("benchmarks.json", lambda path: import_rows(path)),
    ("options.toml", lambda path: read_toml(path)),
    ("link_fit.csv", lambda path: read_fits(path.parent)),
    ("frontier.csv", lambda path: read_probes(path.parent)),
    ("arrays.npz", lambda path: load_data(find_workload("mlp", "tiny"), str(path), 0)),
])
def test_bytes(folder: Path, name: str, read: Callable[[Path], object], content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    _read_or_refused(lambda: read(path))


CELL = st.text(alphabet=st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["1e308", "nan", "-1", ""])


@fuzz(40)
@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=3))
@pytest.mark.parametrize(("head", "name", "read"), [
    ("framework,engine,collective,backend,transport", "link_fit.csv", read_fits),
    ("case_id,batch,status,reason,step_time_s", "frontier.csv", read_probes),
])
def test_tables(
    folder: Path, head: str, name: str, read: Callable[[Path], object], rows: list[list[str]]
) -> None:
    text = "\n".join([head, *(",".join(row) for row in rows)])
    (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    _read_or_refused(lambda: read(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    make_run(folder, repeats=2)
    return folder


@fuzz(15)
@given(data=st.data())
def test_a_run_with_anything_in_place_of_one_entry(run: Path, data: st.DataObject) -> None:
    path = run / "run.json"
    whole = path.read_text(encoding="utf-8")
    content = json.loads(whole)
    place, key = content, data.draw(st.sampled_from(sorted(content)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(
            sorted(place) if isinstance(place, dict) else list(range(len(place)))))
    place[key] = data.draw(JSON)
    try:
        path.write_text(json.dumps(content), encoding="utf-8")
        _read_or_refused(lambda: read_run(run).rows())
    finally:
        path.write_text(whole, encoding="utf-8")


def options(model: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of a model's options, or others, with anything as their value."""
    names = st.sampled_from([one.name for one in fields(model)]) | st.text(max_size=8)
    values = JSON | st.lists(st.integers() | st.text(max_size=5))
    return st.dictionaries(names, values, max_size=3)


@fuzz(40)
@given(data=st.data())
@pytest.mark.parametrize("model", [RunConfig, AbConfig, LinkConfig])
def test_options(model: type[Any], data: st.DataObject) -> None:
    asked = data.draw(options(model))
    _read_or_refused(lambda: validate(model, asked))
