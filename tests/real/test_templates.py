"""What the templates of ``examples/clusters/`` tell a container to do, done by processes here.

A pod that is taken away gets SIGTERM and a while; the pod after it has the same command.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from suite.contract.registry import traits_of
from suite.machine.software import installed_version
from tests.cluster import Cluster, cluster, phases, why_no_cluster

UNAVAILABLE = why_no_cluster()
ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not installed_version(traits_of("pytorch").distributions),
                       reason="pytorch is not installed"),
]
two_hosts = pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE)
INTERRUPTED = 130
SHORT = ("--preset", "smoke", "--framework", "pytorch", "--strategy", "single,data", "--no-link")


def _read(name: str) -> dict[str, Any]:
    text = (ROOT / "examples/clusters" / name).read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def _command(container: dict[str, Any], out: Path, options: Sequence[str]) -> list[str]:
    """The container's command with other options, and with the results in a folder of the test."""
    return [word.replace("/results", str(out)) for word in container["command"]] + [*options]


def _started(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        list(command), env={**os.environ, **(environment or {}), "PATH": path}, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def _ended(process: subprocess.Popen[str], code: int, seconds: float = 200) -> str:
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == code, said
    return said


def _when_measured(out: Path, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while "clean steps" not in phases(out, "*/cases/pytorch.data*/launch-0/phase-1"):
        if run.poll() is not None or time.monotonic() > deadline:
            run.send_signal(signal.SIGINT)
            raise AssertionError(run.communicate(timeout=60)[0])
        time.sleep(0.1)


def _rows(out: Path) -> dict[str, dict[str, str]]:
    (table,) = out.glob("*/results.csv")
    with table.open(encoding="utf-8") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def _state(out: Path) -> tuple[str, int]:
    (run,) = out.glob("*/run.json")
    read = json.loads(run.read_text())
    return read["state"], len(read.get("resumed", []))


def test_a_job_whose_pod_is_taken_away_is_finished_by_the_next_pod(tmp_path: Path) -> None:
    pod = _read("preemptible-job.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = _command(container, tmp_path, [*SHORT, "--devices", "2", "--steps", "2000"])
    first = _started(command)
    _when_measured(tmp_path, first)
    first.send_signal(signal.SIGTERM)
    said = _ended(first, INTERRUPTED, pod["terminationGracePeriodSeconds"] / 2)
    assert _state(tmp_path) == ("interrupted", 0), said
    _ended(_started(command), 0)
    assert _state(tmp_path) == ("complete", 1)
    assert {row["parity"] for row in _rows(tmp_path).values()} == {"ok"}


def _pod(
    hosts: Cluster, number: int, command: Sequence[str], environment: dict[str, str]
) -> subprocess.Popen[str]:
    """A container on one of the hosts; SIGTERM reaches its first process, as from a kubelet."""
    return _started([*hosts.prefixes[number], *command], environment)


def _stop(hosts: Cluster, number: int) -> None:
    """Sends SIGTERM to the suite of a host, as stopping its container does."""
    space = hosts.link.prefixes[number][-1]
    told = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
    for pid in map(int, told.stdout.split()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if words[1:4] == ["-m", "suite", "run"]:
            os.kill(pid, signal.SIGTERM)


@two_hosts
def test_a_pytorchjob_goes_on_after_its_master_was_taken_away(tmp_path: Path) -> None:
    replicas = _read("pytorchjob.yaml")["spec"]["pytorchReplicaSpecs"].values()
    containers = [replica["template"]["spec"]["containers"][0] for replica in replicas]
    operators = {"WORLD_SIZE": "2", "MASTER_ADDR": "host-a", "SUITE_JOIN_KEY": "shared"}
    options = [*SHORT, "--hosts", "host-a:1,host-b:1", "--devices", "2", "--steps", "2000"]
    # The claim of the results is on the first host alone.
    outs = (tmp_path / "claim", tmp_path / "none")
    with cluster(400, tmp_path) as hosts:
        for code in (INTERRUPTED, 0):
            master, worker = (
                _pod(hosts, rank, _command(container, out, options),
                     {**operators, "RANK": str(rank)})
                for rank, (container, out) in enumerate(zip(containers, outs, strict=True))
            )
            if code:
                _when_measured(outs[0], master)
                _stop(hosts, 0)
            said = _ended(master, code)
            # An operator starts it again (Always) until the master has succeeded.
            _ended(worker, 0, 60)
    assert _state(outs[0]) == ("complete", 1), said
    row = _rows(outs[0])["pytorch.data.mlp-tiny.cpu2.hosts2"]
    assert row["parity"] == "ok" and row["topology"] == "host-a: 1, host-b: 1"


@two_hosts
def test_the_compose_file_s_services_are_the_hosts_of_one_run(tmp_path: Path) -> None:
    services = _read("compose.yaml")["services"]
    with cluster(400, tmp_path) as hosts:
        started = [
            _pod(hosts, number, [
                "python", "-m", "suite",
                *(word.replace("/results", str(tmp_path / "out")) for word in service["command"]),
                *SHORT[2:],
            ], {**service["environment"], "SUITE_JOIN_KEY": "shared"})
            for number, service in enumerate(services.values())
        ]
        for process in started:
            said = _ended(process, 0)
    row = _rows(tmp_path / "out")["pytorch.data.mlp-tiny.cpu2.hosts2"]
    assert row["parity"] == "ok" and row["topology"] == "host-a: 1, host-b: 1", said
