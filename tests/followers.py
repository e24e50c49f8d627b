"""Two hosts that are both this machine: a fleet, and the follower of the second one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from suite.contract.case import Case
from suite.contract.hosts import Host
from suite.launch.across.channel import KEY
from suite.launch.across.engines import PORT
from suite.launch.across.fleet import Fleet
from suite.launch.group import LaunchRequest, Outcome
from tests.conftest import written

FOLLOWER = "suite.launch.across.follower"


def free_port() -> int:
    """A TCP port of loopback that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def fleet_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int = 1
) -> Iterator[Fleet]:
    """The harness's side of a launch over two hosts; this process plays the first one.

    The second one's follower is started by ``second_host``.
    """
    port = str(free_port())
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", PORT: port,
                        KEY: "shared"}.items():
        monkeypatch.setenv(name, value)
    fleet = Fleet("torchrun", (Host("", slots), Host("", slots)), tmp_path / "cluster.log")
    try:
        yield fleet
    finally:
        fleet.close()


@contextmanager
def second_host(key: str = "shared") -> Iterator[subprocess.Popen[bytes]]:
    """The follower of the second host, started as torchrun or a user would."""
    environment = {**os.environ, "RANK": "1", KEY: key}
    process = subprocess.Popen(
        [sys.executable, "-m", FOLLOWER, "127.0.0.1", os.environ[PORT]], env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def launch_on(fleet: Fleet, case: Case, folder: Path, timeout_s: float = 60.0) -> Outcome:
    """Launches a case on the fleet; ``folder`` gets the records."""
    path, inputs = written(case, folder)
    return fleet(LaunchRequest(case, path, inputs, folder, [], timeout_s))


def ranks_left() -> list[str]:
    """The commands of ranks that still run."""
    lines = [" ".join(process.info["cmdline"] or []) for process in
             psutil.process_iter(["cmdline"])]
    return [line for line in lines if "suite.ranks.train" in line and "suite-launch-" in line]


def gone(seconds: float) -> bool:
    """Whether no rank is left, within so many seconds."""
    deadline = time.monotonic() + seconds
    while ranks_left() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not ranks_left()
