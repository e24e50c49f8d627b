"""The example of a workload outside the suite, run as its user does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.machine.software import installed_version
from tests.conftest import python_path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_every_strategy_is_proven(tmp_path: Path) -> None:
    if not (installed_version(["torch"]) and installed_version(["tensorflow-cpu"])):
        pytest.skip("torch or tensorflow is not installed")
    command = [
        sys.executable, "-m", "suite", "run", "--preset", "smoke", "--no-link", "--probes", "0",
        "--framework", "pytorch,tensorflow", "--workload", "tabular_resnet:SIZES",
        "--out", str(tmp_path), "--quiet",
    ]
    # The suite, and the folder that the user stands in.
    ended = subprocess.run(
        command, cwd=EXAMPLES, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": python_path(str(EXAMPLES.parent))},
    )
    assert ended.returncode == 0, ended.stderr
    with next(tmp_path.glob("*/results.csv")).open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 and {row["parity"] for row in rows} == {"ok"}


def test_it_is_short() -> None:
    files = (EXAMPLES / "tabular_resnet").glob("*.py")
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 150
