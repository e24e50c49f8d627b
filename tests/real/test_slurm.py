"""A run inside a job of a real Slurm, and one that the scheduler ends with a grace period."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.contract.registry import traits_of
from suite.machine.software import installed_version
from tests.cluster import cluster, why_no_cluster
from tests.slurm import slurm, why_no_slurm

UNAVAILABLE = why_no_cluster() or why_no_slurm()
pytestmark = [
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
    pytest.mark.skipif(not installed_version(traits_of("pytorch").distributions),
                       reason="pytorch is not installed"),
]
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
        assert again.returncode == 0, again.stdout + again.stderr
    with (run / "results.csv").open(encoding="utf-8") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    row = rows["pytorch.data.mlp-tiny.cpu2.hosts2"]
    assert row["parity"] == "ok" and row["topology"] == "host-a: 1, host-b: 1"


def _await_phase(out: Path, place: str, phase: str, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.poll() is None:
        if any(path.read_text() == phase for path in out.glob(f"*/cases/{place}")):
            return
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    raise AssertionError(run.communicate(timeout=60)[0])
