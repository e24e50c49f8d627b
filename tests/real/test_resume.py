"""A run of a real framework, ended twice at random moments, has every row once in the end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.measure.test_resume import _records, _shape, _table, _wait_for_run

pytest.importorskip("torch")
SUITE = [sys.executable, "-m", "suite", "run"]
RUN = ["--framework", "pytorch", "--strategy", "single,data", "--workload", "mlp", "--size", "tiny",
       "--steps", "3", "--warmup", "20", "--repeats", "2", "--no-link", "--quiet"]
# Start to end of the run on two quiet cores, seconds.
WHOLE = 25.0


def _cut_off(arguments: list[str], out: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([*SUITE, *arguments], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _wait_for_run(out)
    moment = random.SystemRandom().uniform(1.0, 0.6 * WHOLE)
    time.sleep(moment)
    process.send_signal(number)
    print(f"{number.name} after {moment:.1f} s: {process.wait(timeout=60)}")


def test_killed_then_interrupted_then_complete(tmp_path: Path) -> None:
    _cut_off([*RUN, "--out", str(tmp_path)], tmp_path, signal.SIGKILL)
    folder = next(tmp_path.iterdir())
    _cut_off(["--resume", str(folder)], tmp_path, signal.SIGINT)
    before = _records(folder)
    done = subprocess.run([*SUITE, "--resume", str(folder), "--quiet"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, steps, losses, outcomes = _shape(folder)
    cases = ["pytorch.single.mlp-tiny.cpu1", "pytorch.data.mlp-tiny.cpu2"]
    assert rows == [(case, "ok", "2", "ok", "repeats") for case in cases]
    assert len(outcomes) == 4 and list(tmp_path.iterdir()) == [folder]
    clean = Counter((case, launch, rank) for case, launch, rank, _, name in steps
                    if name == "clean")
    assert set(clean.values()) == {3} and len(clean) == 2 + 2 * 2
    assert Counter(case for case, _ in losses) == dict.fromkeys(cases, 10)
    after = _records(folder)
    assert {name: after[name] for name in before} == before
    assert json.loads((folder / "run.json").read_text())["state"] == "complete"
    speedups = {row["case_id"]: row["speedup"] for row in _table(folder / "results.csv")}
    assert all(speedups.values())
