"""``predict --rehearse``: real processes of the fake adapter train, and predictions change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from suite.cli import rehearse as rehearse_module
from suite.cli.stored import calibration_path, rehearsals_path
from suite.config.foresight import ForesightConfig
from suite.contract import registry
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.foresight.kept_rehearsals import KeptRehearsal, read_rehearsals, write_rehearsals
from suite.foresight.measured import NAMES, Constants, write_constants
from suite.launch.group import LaunchRequest, Outcome
from suite.launch.group import launch as launch_group
from suite.measure.runner import Runner
from tests.command import suite_command

KNOWN = Constants(
    "fake", "numpy", "eager", "cpu", 2, "2026-01-01T00:00:00+00:00",
    dict.fromkeys(NAMES, 1.0) | {
        "product_flops_s": 1e11, "ramp_s": 1e-6, "narrow": 0.1, "stream_bytes_s": 2e10,
        "launch_s": 1e-6, "all_reduce_s": 1e-4, "all_reduce_bytes_s": 2e9, "hop_s": 1e-4,
        "hop_bytes_s": 2e9, "step_s": 1e-4, "update_bytes": 28.0, "curve_s": 0.0, "norm_s": 0.0},
    3e8, {"products": 0.02, "all_reduce": 0.1})
CASE = Case("fake", "numpy", "data", "", "mlp", "wide", "synthetic", "cpu", 2, depth=4)
ASKED = ("predict", "--framework", "fake", "--workload", "mlp", "--size", "wide")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who has calibrated the fake adapter, the only one."""
    monkeypatch.setattr(registry, "own", lambda: ("fake",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_constants(calibration_path(), [KNOWN])


@pytest.mark.usefixtures("known")
def test_ways_are_trained_kept_and_then_predicted_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse_module, "LAUNCHES", 1)
    before = json.loads(suite_command(*ASKED, "--json").stdout)["rows"]
    assert not any(row["rehearsed"] for row in before)
    ran = suite_command(*ASKED, "--rehearse", "--strategy", "data,inter_layer")
    assert ran.returncode == 0, ran.stderr
    assert "4 of 5 units" in ran.stdout and str(rehearsals_path()) in ran.stdout.replace("\n", "")
    kept = read_rehearsals(rehearsals_path())
    assert [one.case.strategy for one in kept] == [
        "single", "data", "inter_layer", "inter_layer"]
    assert {one.case.depth for one in kept} == {4}
    after = {row["way"]: row for row in json.loads(suite_command(*ASKED, "--json").stdout)["rows"]}
    assert after["data"]["rehearsed"] == 1.0
    # The fake adapter computes nothing, so what was predicted from constants was far too long.
    long = {row["way"]: row["step_s"] for row in before}
    assert after["data"]["step_s"] < long["data"] / 2
    assert "rehearsed" in suite_command(*ASKED).stdout


def test_a_rehearsal_times_the_steps_that_it_is_planned_with() -> None:
    """Its time is planned, so launches do not go on where transfers are restless."""
    config = rehearse_module.run_config(ForesightConfig(workload="gpt"), ["pytorch"])
    assert config.probes and config.probe_steps == rehearse_module.PROBED_STEPS
    assert config.probe_precision == 0


@pytest.mark.usefixtures("known")
def test_a_model_that_is_no_deeper_than_its_rehearsal_is_refused() -> None:
    ran = suite_command(*ASKED[:-1], "tiny", "--rehearse")
    assert ran.returncode == 2 and "run it" in ran.stderr
    assert not rehearsals_path().exists()


def test_a_newer_rehearsal_replaces_its_own_and_keeps_the_others(
    known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = KeptRehearsal(CASE, "then", 1.0)
    other = replace(old, case=replace(CASE, depth=2))
    write_rehearsals(rehearsals_path(), [old, other])
    new = replace(old, measured_at="now", step_s=2.0)
    monkeypatch.setattr(rehearse_module, "train", lambda *_: ([new], {"b": "crashed"}, "complete"))
    ran = suite_command(*ASKED, "--rehearse")
    assert ran.returncode == 0 and "b: crashed" in ran.stdout
    assert read_rehearsals(rehearsals_path()) == [other, new]


def test_what_cannot_be_read_is_put_aside(
    known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsals_path().write_text("{", encoding="utf-8")
    with pytest.raises(UsageError):
        read_rehearsals(rehearsals_path())
    monkeypatch.setattr(rehearse_module, "train",
                        lambda *_: ([KeptRehearsal(CASE, "now", 1.0)], {}, "complete"))
    ran = suite_command(*ASKED, "--rehearse")
    assert ran.returncode == 0 and "unreadable" in ran.stderr.replace("\n", "")
    assert len(read_rehearsals(rehearsals_path())) == 1


def test_nothing_that_could_be_trained_is_said(
    known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse_module, "train", lambda *_: ([], {"a": "crashed"}, "complete"))
    ran = suite_command(*ASKED, "--rehearse")
    assert ran.returncode == 1 and "a: crashed" in ran.stdout


@pytest.mark.usefixtures("known")
def test_what_was_trained_before_an_interrupt_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearse_module, "LAUNCHES", 1)
    launched: list[str] = []

    def launch(request: LaunchRequest) -> Outcome:
        if len([name for name in launched if "reference" not in name]) == 1:
            raise KeyboardInterrupt
        launched.append(request.folder.parent.name)
        return launch_group(request)

    monkeypatch.setattr(
        rehearse_module, "Runner",
        lambda config, cases, folder, show: Runner(config, cases, folder, show, launch))
    ran = suite_command(*ASKED, "--rehearse", "--strategy", "data,inter_layer")
    assert ran.returncode == 130
    kept = read_rehearsals(rehearsals_path())
    assert len(kept) == 1 and ran.stdout.count(": interrupted") == 3


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_trained(
    known: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(rehearse_module, "train", lambda *_: pytest.fail("trained"))
    ran = suite_command(*ASKED, "--rehearse")
    assert ran.returncode == 2 and "XDG_CACHE_HOME" in ran.stderr
