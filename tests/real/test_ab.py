"""One run of real processes: two settings of one case, interleaved."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.contract.registry import traits_of
from suite.machine.software import installed_version

COMMAND = [sys.executable, "-m", "suite", "ab", "--framework", "pytorch", "--strategy", "single",
           "--workload", "mlp", "--size", "tiny", "--data", "synthetic", "--steps", "10",
           "--warmup", "20", "--probes", "1", "--probe-steps", "2", "--repeats", "6", "--json"]


@pytest.mark.alone
def test_a_harmless_setting_reaches_the_workers_and_is_compared(tmp_path: Path) -> None:
    if not installed_version(traits_of("pytorch").distributions):
        pytest.skip("pytorch is not installed")
    sides = ["--a", "", "--b", "OMP_WAIT_POLICY=passive", "--out", str(tmp_path)]
    done = subprocess.run([*COMMAND, *sides], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["differences"][0] == "environment OMP_WAIT_POLICY: not set against passive"
    (folder,) = tmp_path.iterdir()
    with (folder / "ab.csv").open(newline="", encoding="utf-8") as stream:
        table = {row["metric"]: row for row in csv.DictReader(stream)}
    step = table["step_time"]
    assert step["pairs"] == "6"
    # On a machine that others use, no more than the order of equal things is known.
    assert 0.25 < float(step["ratio"]) < 4
    assert float(step["ratio_low"]) <= float(step["ratio"]) <= float(step["ratio_high"])
    assert {"throughput", "peak_memory"} <= table.keys()
    for name in ("a", "b"):
        assert len(list((folder / name / "cases").glob("*/launch-*/outcome.json"))) == 6
