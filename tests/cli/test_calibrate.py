"""``predict --calibrate``: what is kept of this machine, and shown."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from suite.cli import calibrate
from suite.cli.app import app
from suite.cli.calibrate import constants_table, measure_and_keep
from suite.cli.stored import calibration_path, constants_of_case
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.workloads import find_workload
from suite.foresight.measured import NAMES, Constants, read_constants, write_constants
from suite.measure.constants import plan_for
from tests.command import suite_command

PLAN = plan_for([find_workload("mlp", "tiny")], "cpu")
ONE = Constants(
    "pytorch", "torch", "eager", "cpu", 2, "2026-01-01T00:00:00+00:00",
    dict.fromkeys(NAMES, 1.0) | {"product_flops_s": 1.1e11, "attention_share": 0.5,
                                 "curve_s": 2e-9}, 3e8, {"products": 0.02, "all_reduce": 0.1})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Constants]:
    """What the launches of a calibration will find."""
    found: list[Constants] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(calibrate, "measure_constants", lambda *_: (list(found), {}))
    return found


def test_what_is_measured_replaces_its_own_and_keeps_the_others(measured: list[Constants]) -> None:
    other = replace(ONE, framework="tensorflow", engine="tensorflow")
    write_constants(calibration_path(), [ONE, other])
    measured.append(replace(ONE, measured_at="2026-02-02T00:00:00+00:00"))
    measure_and_keep([], PLAN, {})
    assert read_constants(calibration_path()) == [other, *measured]


def test_a_file_that_cannot_be_read_is_put_aside_and_said(
    measured: list[Constants], capsys: pytest.CaptureFixture[str]
) -> None:
    path = calibration_path()
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 99}', encoding="utf-8")
    with pytest.raises(UsageError, match="measure again"):
        read_constants(path)
    measured.append(ONE)
    measure_and_keep([], PLAN, {})
    assert read_constants(path) == [ONE]
    aside = path.with_suffix(".unreadable")
    assert aside.read_text(encoding="utf-8") == '{"schema": 99}'
    said = capsys.readouterr().err
    assert str(aside) in said and "schema 99" in said


def test_constants_that_an_earlier_release_did_not_measure_are_named(
    measured: list[Constants],
) -> None:
    """predict says so; auto, which calibrates what it needs, takes them for not measured."""
    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)
    for values, known in ((ONE.values, True), (_without(ONE.values, "norm_s"), False)):
        write_constants(calibration_path(), [replace(ONE, values=values)])
        assert (constants_of_case(case) is not None) is known
        found = CliRunner().invoke(
            app, ["predict", "--machine", "here", "--framework", "pytorch"],
            catch_exceptions=False)
        assert ("without norm_s" in " ".join(found.stdout.split())) is not known


def _without(values: dict[str, float], name: str) -> dict[str, float]:
    return {key: value for key, value in values.items() if key != name}


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    measured: list[Constants], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    monkeypatch.setattr(calibrate, "measure_constants", lambda *_: pytest.fail("measured"))
    with pytest.raises(UsageError, match="XDG_CACHE_HOME"):
        measure_and_keep([], PLAN, {})


def test_the_table_has_a_column_for_each_engine_and_fits_a_terminal() -> None:
    found = [ONE, replace(ONE, framework="horovod"),
             replace(ONE, framework="horovod", engine="tensorflow")]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(constants_table(found))
    shown = console.export_text()
    assert "eager on cpu" in shown and "horovod/tensorflow" in shown and "…" not in shown
    attention = next(line for line in shown.splitlines() if "attention" in line)
    assert attention.count("55 GFLOP/s") == 3
    activation = next(line for line in shown.splitlines() if "activation" in line)
    assert activation.count("2 ns") == 3


@pytest.mark.parametrize("name", ["sideways", "horovod/sideways", "pytorch/"])
def test_a_column_that_does_not_exist_is_refused(measured: list[Constants], name: str) -> None:
    measured.append(ONE)
    ran = suite_command("predict", "--calibrate", "--framework", name)
    expected = 0 if name == "pytorch/" else 2
    assert ran.returncode == expected and ("horovod/torch" in ran.stderr) is bool(expected)


def test_an_engine_can_be_calibrated_alone(
    measured: list[Constants], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the error advises where a column was not measured."""
    asked: list[list[Case]] = []
    monkeypatch.setattr(calibrate, "measure_constants",
                        lambda cases, *_: asked.append(list(cases)) or ([ONE], {}))
    assert suite_command("predict", "--calibrate", "--framework", "horovod/torch").returncode == 0
    assert [(case.framework, case.engine) for case in asked[0]] == [("horovod", "torch")]
