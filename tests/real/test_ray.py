"""Ray starts the followers: a real cluster of two nodes, each in a network namespace of its own."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from suite.contract.registry import traits_of
from suite.machine.software import installed_version
from tests.cluster import NAMES, Cluster, cluster, phases, processes_of, why_no_cluster
from tests.rays import on_ray, ray, why_no_ray

UNAVAILABLE = why_no_cluster() or why_no_ray()
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.long,
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
    pytest.mark.skipif(
        not all(installed_version(traits_of(name).distributions)
                for name in ("pytorch", "tensorflow", "horovod")),
        reason="a framework is not installed"),
]
RUN = ("-m", "suite", "run", "--launcher", "ray", "--preset", "smoke", "--no-link", "--strategy",
       "single,data", "--variant", "default,multi_worker")
FRAMEWORKS = {"pytorch.data", "horovod-torch.data", "horovod-tensorflow.data",
              "tensorflow.data-multi_worker"}
BOTH = ",".join(f"{name}:1" for name in NAMES)


def test_rays_nodes_train_together_and_are_given_back_by_a_killed_run(tmp_path: Path) -> None:
    """The nodes come from Ray; of a harness that is killed nothing is left on them."""
    with cluster(400, tmp_path) as hosts:
        here = [*hosts.prefixes[0], sys.executable, *RUN]
        none = subprocess.run(here, env=hosts.environment(), capture_output=True, text=True)
        assert none.returncode == 2 and "ray start --head" in none.stderr, none.stderr
        with ray(hosts) as environment:
            out = tmp_path / "out"
            run = subprocess.run(
                [*here, "--out", str(out)], env=environment, capture_output=True, text=True,
                timeout=300,  # beside other work; alone it takes half of that
            )
            print(run.stdout)
            assert run.returncode == 0, run.stdout + run.stderr
            (table,) = out.glob("*/results.csv")
            with table.open(encoding="utf-8") as file:
                rows = {row["case_id"]: row for row in csv.DictReader(file)}
            across = {name.partition(".mlp")[0]: row for name, row in rows.items()
                      if row["hosts"] == "2" and row["status"] == "ok"}
            assert across.keys() == FRAMEWORKS, run.stdout
            for row in across.values():
                assert row["parity"] == "ok" and row["topology"] == "host-a: 1, host-b: 1"

            _killed_while_training(
                hosts, [*here, "--framework", "pytorch", "--hosts", BOTH, "--steps", "3000"],
                environment, tmp_path / "killed",
            )
            assert not _left_after(hosts, 15.0)
            # Both nodes' only processors are free again.
            again = on_ray(hosts, environment, "start", BOTH, "true")
            assert again.returncode == 0, again.stderr


def test_a_host_that_ray_does_not_know_is_named(tmp_path: Path) -> None:
    with cluster(400, tmp_path) as hosts, ray(hosts) as environment:
        told = on_ray(hosts, environment, "start", "host-c:1", "true")
    assert told.returncode == 1 and "no node host-c, only 10.200.0.1, 10.200.0.2" in told.stderr


def _killed_while_training(
    hosts: Cluster, command: list[str], environment: dict[str, str], out: Path
) -> None:
    run = subprocess.Popen([*command, "--out", str(out)], env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    phase = "*/cases/pytorch.data*/launch-0/phase-1"
    while "clean steps" not in phases(out, phase):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.1)
    harness = next(one for one, words in _of_a_run(hosts)
                   if words[:4] == [sys.executable, "-m", "suite", "run"])
    harness.kill()
    run.wait(30)


def _of_a_run(hosts: Cluster) -> list[tuple[psutil.Process, list[str]]]:
    """The harness, followers, ranks and what speaks to Ray, on both hosts, with their commands.

    Any of them may end while they are looked at.
    """
    found = []
    for pid in processes_of(hosts):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            words = process.cmdline()
            if any(mark in " ".join(words) for mark in ("-m suite", "on_ray.py")):
                found.append((process, words))
    return found


def _left_after(hosts: Cluster, seconds: float) -> list[tuple[psutil.Process, list[str]]]:
    deadline = time.monotonic() + seconds
    while _of_a_run(hosts) and time.monotonic() < deadline:
        time.sleep(0.2)
    return _of_a_run(hosts)
