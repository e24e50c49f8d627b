"""``advise`` as users call it, with the sample run as evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from suite.cli.app import app
from suite.contract.errors import UsageError
from suite.foresight.measured import Constants, write_constants

SAMPLE = Path(__file__).resolve().parents[2] / "results"
NAMED = ("advise", "--machine", "A100 SXM 80GB", "--workload", "gpt", "--size", "gpt3-6.7b",
         "--devices", "8", "--batch", "64")
HERE = ("advise", "--workload", "gpt", "--size", "small", "--devices", "2",
        "--results", str(SAMPLE))
VALUES = {
    "product_flops_s": 9e10, "ramp_s": 1e-5, "narrow": 2.0, "stream_bytes_s": 8e9,
    "launch_s": 5e-6, "all_reduce_s": 1e-4, "all_reduce_bytes_s": 2e9, "hop_s": 1e-4,
    "hop_bytes_s": 2e9, "contention": 1.5, "step_s": 1e-4, "update_bytes": 28.0,
}


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Constants("pytorch", "torch", "eager", "cpu", 2, "2026-01-02T03:04:05+00:00",
                      values=VALUES, reserved_bytes=3e8, errors={"products": 0.1})
    write_constants(tmp_path / "training-split-suite" / "calibration.json", [found])


def _json(*options: str) -> dict[str, Any]:
    found = CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False)
    held: dict[str, Any] = json.loads(found.stdout)
    return held


def test_the_answer_comes_first_with_its_reasons() -> None:
    lines = CliRunner().invoke(app, NAMED, catch_exceptions=False).stdout.splitlines()
    assert lines[0].startswith("Choose data") and "predicted" in lines[0]
    assert "replicas exchange" in lines[1] and "What would change it" in "".join(lines[:4])
    assert any("does not fit" in line for line in lines)


def test_measured_rows_are_told_from_predictions(calibrated: None) -> None:
    ways = _json(*HERE)["advice"]["ways"]
    measured = [one for one in ways if one["evidence"]]
    assert measured and any(not one["evidence"] for one in ways)
    (data,) = [one for one in measured if one["evidence"]["strategy"] == "data"
               and not one["evidence"]["sharded"]]
    row = next(line for line in (SAMPLE / "sample/results.csv").read_text().splitlines()
               if ",pytorch.data.gpt-small.cpu2," in line)
    assert f"{data['step_s']:.6f}" in {f"{float(cell):.6f}" for cell in row.split(",")[18:19]}


def test_a_date_says_when_constants_were_measured(calibrated: None) -> None:
    text = CliRunner().invoke(app, HERE, catch_exceptions=False).stdout
    assert "measured here on 2026-01-02" in text


def test_a_machine_that_was_not_measured_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="--calibrate --framework pytorch"):
        CliRunner().invoke(app, HERE, catch_exceptions=False)


def test_a_page_has_the_maps(tmp_path: Path) -> None:
    page = tmp_path / "advice.html"
    CliRunner().invoke(app, [*NAMED, "--page", str(page)], catch_exceptions=False)
    assert page.read_text().count("<svg") == 2
