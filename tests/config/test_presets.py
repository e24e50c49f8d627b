"""Presets and the documented example follow the schema of --config."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib

from suite.config import resolution
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.option import settings_of
from suite.config.resolution import PRESETS, resolve
from suite.config.validation import validate
from suite.contract.splits.strategies import STRATEGIES
from suite.contract.workloads import DEFAULT_SIZES, WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "example.toml"


def _example() -> str:
    """With the settings that have no default switched on."""
    names = "|".join(settings_of(RunConfig))
    return re.sub(rf"^# ({names}) = ", r"\1 = ", EXAMPLE.read_text(), flags=re.MULTILINE)


def test_the_example_has_every_key_and_no_other() -> None:
    assert set(tomllib.loads(_example())) == set(settings_of(RunConfig))


@pytest.mark.parametrize("key", list(settings_of(RunConfig)))
def test_each_key_of_the_example_is_valid_alone(key: str) -> None:
    value = tomllib.loads(_example())[key]
    # A limit is the search's, and refused without one.
    search = {"find_max_batch": True} if key == "memory_limit" else {}
    assert getattr(validate(RunConfig, search | {key: value}), key) is not None


@pytest.mark.parametrize("key", list(tomllib.loads(EXAMPLE.read_text())))
def test_each_value_of_the_example_is_the_default(key: str) -> None:
    assert tomllib.loads(EXAMPLE.read_text())[key] == getattr(RunConfig(), key)


def test_the_example_runs_as_a_configuration() -> None:
    found = resolve("quick", EXAMPLE, {})
    assert found == RunConfig(size="wide") or found == RunConfig()


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_files_of_the_same_schema(name: str) -> None:
    file = Path(resolution.__file__).parent / "presets" / f"{name}.toml"
    assert tomllib.loads(file.read_text()) == PRESETS[name]
    assert file.read_text().startswith("# ")
    assert validate(RunConfig, PRESETS[name]).steps == PRESETS[name]["steps"]


def test_no_preset_file_is_left_out_and_all_are_packaged() -> None:
    files = {path.stem for path in (ROOT / "suite" / "config" / "presets").glob("*.toml")}
    assert files == set(PRESETS)
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "presets/*.toml" in packaged["package-data"]["suite.config"]


def test_coverage_is_every_cell_of_every_workload() -> None:
    cases = build_matrix(resolve("coverage", None, {}), 0)
    assert {case.workload for case in cases} == set(WORKLOADS)
    assert len(cases) == len(WORKLOADS) * 4 * len(STRATEGIES)
    assert {(case.size, case.devices) for case in cases} == {("tiny", 1), ("tiny", 2)}


@pytest.mark.parametrize("workload", list(WORKLOADS))
@pytest.mark.parametrize(("preset", "size"), [("smoke", "tiny"), ("coverage", "tiny"),
                                              ("quick", ""), ("standard", "")])
def test_every_workload_has_a_size_in_every_preset(
    preset: str, size: str, workload: str
) -> None:
    cases = build_matrix(resolve(preset, None, {"workload": [workload]}), 0)
    assert {case.size for case in cases} == {size or DEFAULT_SIZES[workload]}
