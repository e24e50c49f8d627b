"""One run of real processes: two settings of one case, interleaved."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.contract.registry import traits_of
from suite.machine.software import installed_version

CASE = ["--strategy", "single", "--workload", "mlp", "--size", "tiny", "--data", "synthetic",
        "--warmup", "20", "--json"]
PYTORCH = ["suite", "ab", "--framework", "pytorch", *CASE, "--steps", "10", "--probes", "1",
           "--probe-steps", "2", "--repeats", "6"]
BUSY = ["tests.busy_harness", "ab", "--framework", "busy", "--engine", "plain", *CASE, "--steps",
        "30", "--probes", "0", "--repeats", "10"]


def _run(module: list[str], b: str, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", *module, "--a", "", "--b", b, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _table(out: Path) -> dict[str, dict[str, str]]:
    (folder,) = out.iterdir()
    with (folder / "ab.csv").open(newline="", encoding="utf-8") as stream:
        return {row["metric"]: row for row in csv.DictReader(stream)}


@pytest.mark.alone
def test_a_setting_that_makes_steps_longer_is_found(tmp_path: Path) -> None:
    """Four products more than forty, by a setting that reaches the ranks of one side alone."""
    found = _run(BUSY, "BUSY_EXTRA=4", tmp_path)
    assert found["differences"][0] == "environment BUSY_EXTRA: not set against 4"
    step = _table(tmp_path)["step_time"]
    print(step)
    assert 6 <= int(step["pairs"]) <= 10  # it may be precise enough before
    assert step["verdict"] == "slower" and float(step["ratio_low"]) > 1.0
    assert float(step["ratio"]) == pytest.approx(1.1, abs=0.03)


@pytest.mark.alone
@pytest.mark.long
def test_a_harmless_setting_reaches_the_workers_and_is_compared(tmp_path: Path) -> None:
    if not installed_version(traits_of("pytorch").distributions):
        pytest.skip("pytorch is not installed")
    found = _run(PYTORCH, "OMP_WAIT_POLICY=passive", tmp_path)
    assert found["differences"][0] == "environment OMP_WAIT_POLICY: not set against passive"
    table = _table(tmp_path)
    step = table["step_time"]
    assert step["pairs"] == "6"
    # On a machine that others use, no more than the order of equal things is known.
    assert 0.25 < float(step["ratio"]) < 4
    assert float(step["ratio_low"]) <= float(step["ratio"]) <= float(step["ratio_high"])
    assert {"throughput", "peak_memory"} <= table.keys()
    (folder,) = tmp_path.iterdir()
    for name in ("a", "b"):
        assert len(list((folder / name / "cases").glob("*/launch-*/outcome.json"))) == 6
