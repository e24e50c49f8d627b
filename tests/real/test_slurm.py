"""A run inside a job of a real Slurm, and one that the scheduler ends with a grace period."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.contract.registry import traits_of
from suite.machine.software import installed_version
from tests.cluster import Cluster, cluster, phases, why_no_cluster
from tests.slurm import slurm, why_no_slurm

UNAVAILABLE = why_no_cluster() or why_no_slurm()
pytestmark = [
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
    pytest.mark.skipif(not installed_version(traits_of("pytorch").distributions),
                       reason="pytorch is not installed"),
]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/clusters"
RUN = ("-m", "suite", "run", "--framework", "pytorch", "--preset", "smoke", "--no-link")


def test_a_job_on_two_nodes_trains_across_them_and_a_preempted_one_is_resumed(
    tmp_path: Path,
) -> None:
    """The second job goes on where SIGTERM ended the first; the nodes come from the allocation."""
    out = tmp_path / "out"
    allocated = ["salloc", "--quiet", "--nodes", "2", sys.executable]
    with cluster(400, tmp_path) as hosts, slurm(hosts, tmp_path / "slurm") as environment:
        first = subprocess.Popen(
            [*hosts.prefixes[0], *allocated, *RUN, "--launcher", "slurm", "--strategy",
             "single,data", "--steps", "1000", "--out", str(out)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        _await_phase(out, "pytorch.data*/launch-0/phase-1", "clean steps", first)
        (run,) = out.iterdir()
        subprocess.run(["pkill", "-TERM", "-f", f"suite run .*{out}"], check=True)
        said, _ = first.communicate(timeout=60)
        assert f"--resume {run}" in said, said
        assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
        again = subprocess.run(
            [*hosts.prefixes[0], *allocated, "-m", "suite", "run", "--resume", str(run)],
            env=environment, capture_output=True, text=True, timeout=250,
        )
        print(again.stdout)
        assert again.returncode == 0, again.stdout + again.stderr
    with (run / "results.csv").open(encoding="utf-8") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    row = rows["pytorch.data.mlp-tiny.cpu2.hosts2"]
    assert row["parity"] == "ok" and row["topology"] == "host-a: 1, host-b: 1"


@pytest.mark.long
@pytest.mark.parametrize("script", ["job.slurm", "apptainer.slurm"])
def test_a_batch_job_that_is_warned_is_queued_again_and_finishes(
    script: str, tmp_path: Path
) -> None:
    """SIGTERM to the script, as --signal=B:TERM@120 sends it, then a requeue.

    What stands in for Apptainer runs the suite of this environment on the node.
    """
    out = tmp_path / "results"
    stand_in = tmp_path / "apptainer"
    stand_in.write_text(f'#!/bin/sh\nshift 5\nexec {sys.executable} -m suite "$@"\n')
    stand_in.chmod(0o755)
    with cluster(400, tmp_path) as hosts, slurm(hosts, tmp_path / "slurm") as environment:
        environment |= {"SPLIT_PYTHON": sys.executable, "SPLIT_RESULTS": str(out),
                        "SPLIT_DEVICES_A_NODE": "1",
                        "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"}
        said = _told(
            hosts, environment, "sbatch", "--parsable", "--chdir", str(ROOT),
            "--output", str(tmp_path / "suite-%j.log"), str(EXAMPLES / script), *RUN[3:],
            "--strategy", "single,data", "--steps", "1000",
        )
        job = said.strip()
        log = tmp_path / f"suite-{job}.log"
        trained = "*/*/cases/pytorch.data*/launch-0/phase-1"
        _await(lambda: "clean steps" in phases(out, trained), 150, log)
        _told(hosts, environment, "scancel", "--batch", "--signal", "TERM", job)
        _await(lambda: "state" in _run_of(out) and _run_of(out)["state"] == "interrupted", 60, log)
        _await(lambda: _run_of(out)["state"] == "complete", 200, log)
        _await(lambda: "JobState=COMPLETED" in _told(hosts, environment, "scontrol", "show", "job",
                                                     job), 60, log)
    said = log.read_text()
    assert len(_run_of(out)["resumed"]) == 1 and "interrupted: what had finished" in said, said
    (table,) = out.glob("*/*/results.csv")
    with table.open(encoding="utf-8") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert all(row["parity"] == "ok" for row in rows.values()), said
    assert rows["pytorch.data.mlp-tiny.cpu2.hosts2"]["topology"] == "host-a: 1, host-b: 1"
    print(said)


def _told(hosts: Cluster, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run([*hosts.prefixes[0], *command], env=environment, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run_of(out: Path) -> dict[str, Any]:
    (path,) = out.glob("*/*/run.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def _await(happened: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def _await_phase(out: Path, place: str, phase: str, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.poll() is None:
        if phase in phases(out, f"*/cases/{place}"):
            return
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    raise AssertionError(run.communicate(timeout=60)[0])
