"""Launches over hosts: real followers on this machine, with planted faults.

The engine is torchrun's way: the test starts the second host's follower itself.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.contract.hosts import Host
from suite.launch.across.channel import SILENCE_SECONDS, Message, hang_up
from suite.launch.across.fleet import read_offsets
from suite.launch.across.follower import HostShare
from suite.launch.group import LaunchRequest
from suite.machine.devices import allowed_cores
from tests.conftest import written
from tests.followers import fleet_of_two, gone, launch_on, ranks_left, second_host


@pytest.fixture
def across(fake: Case) -> Case:
    return replace(fake, hosts=2)


def test_every_host_brings_its_records_home(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host():
        for name in ("first", "again"):
            folder = tmp_path / name
            outcome = launch_on(fleet, across, folder)
            assert outcome.status == "ok", outcome.reason
            assert [record["rank"] for record in outcome.records] == [0, 1]
            assert outcome.records[1]["host"] == socket.gethostname()
            assert (folder / "parity.npz").exists() and (folder / "phase-1").exists()
            # Both hosts are this one, so their clocks are the same one.
            offsets = read_offsets(folder)
            assert all(abs(o.seconds) <= o.uncertainty_s + 1e-4 for o in offsets.values())
            assert {"slots", "cores", "address"} <= fleet.about()[1].keys()
    assert gone(5.0)


def test_a_case_on_one_host_is_launched_here(
    fake: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet_of_two(tmp_path, monkeypatch) as fleet:
        path, inputs = written(fake, tmp_path / "alone")
        request = LaunchRequest(fake, path, inputs, tmp_path / "alone", allowed_cores()[:2], 60.0)
        assert fleet(request).status == "ok" and not fleet.about()


@pytest.mark.parametrize(("fault", "status", "words"), [
    ("crash", "failed", "rank 1 in proof ended with code 1: ValueError: planted crash"),
    ("kill", "failed", "rank 1 in proof ended with signal SIGKILL"),
    ("leave", "failed", "rank 1"),
    ("hang", "timeout", "not finished after 6 s"),
    ("flood", "failed", "MiB of log"),
    ("refuse", "failed", "the host name x: got '127.0.1.1'"),
])
def test_what_goes_wrong_on_another_host_is_told_here(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, status: str,
    words: str,
) -> None:
    monkeypatch.setenv("FAKE_FAULT", fault)
    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host():
        began = time.monotonic()
        outcome = launch_on(fleet, across, tmp_path / "launch", 6.0 if fault == "hang" else 60.0)
        assert outcome.status == status and words in outcome.reason, outcome.reason
        assert time.monotonic() - began < 40 and gone(1.0)
        if fault == "hang":
            log = (tmp_path / "launch" / "worker.log").read_text()
            assert "time.sleep(1000)" in log or "session.py" in log
        # The same followers serve the next case.
        assert not any(link.problem() for link in fleet.links)


@pytest.mark.parametrize(("number", "words"), [
    (signal.SIGKILL, "the connection to host"), (signal.SIGSTOP, "has not been heard of"),
])
def test_a_host_that_is_lost_ends_the_case_and_the_next_one_is_clean(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals,
    words: str,
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "stop")
    with fleet_of_two(tmp_path, monkeypatch) as fleet:
        with second_host() as host:
            _when_ranks_run(lambda: host.send_signal(number))
            began = time.monotonic()
            outcome = launch_on(fleet, across, tmp_path / "lost")
            assert outcome.status == "failed" and words in outcome.reason, outcome.reason
            assert time.monotonic() - began < 20 + SILENCE_SECONDS
        assert gone(5.0)
        monkeypatch.setenv("FAKE_FAULT", "")
        with second_host():
            assert launch_on(fleet, across, tmp_path / "next").status == "ok"


def _when_ranks_run(act: object) -> None:
    import threading

    def wait() -> None:
        deadline = time.monotonic() + 30
        while not ranks_left() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        act()  # type: ignore[operator]

    threading.Thread(target=wait, daemon=True).start()


def test_followers_end_with_a_harness_that_was_killed(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends, and with it everything that was started for it."""
    monkeypatch.setenv("FAKE_FAULT", "hang")
    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host() as host:
        _when_ranks_run(lambda: [hang_up(link.connection) for link in fleet.links])
        assert launch_on(fleet, across, tmp_path / "launch").status == "failed"
        assert host.wait(15) == 0 and gone(5.0)


def test_whoever_lacks_the_key_is_not_let_in(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.launch.across.link.START_SECONDS", 3.0)
    monkeypatch.setattr("suite.launch.across.link.gather.__defaults__", (3.0,))
    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host(key="guessed") as host:
        outcome = launch_on(fleet, across, tmp_path / "launch")
        assert outcome.status == "failed"
        assert "of 2 hosts only 1 joined" in outcome.reason
        assert host.wait(10) != 0


def test_no_proxy_is_asked_for_another_host_of_the_job(
    across: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"http_proxy": "http://10.0.0.9:3128", "SUITE_PASS_ENV": "*_proxy"}.items():
        monkeypatch.setenv(name, value)
    hosts = [Host(f"node{n}", 1, f"10.0.0.{n}", "eth0", (1024, 1025)) for n in (1, 2)]
    _, inputs = written(across, tmp_path)
    share = HostShare(Message("prepare", {
        "case": asdict(across), "hosts": [asdict(host) for host in hosts], "mine": 1,
        "python": sys.executable, "worker": "", "timeout_seconds": 9.0, "settings": {},
    }, inputs.read_bytes()), lambda *told, **fields: None)
    try:
        named = share.group.environment["no_proxy"].split(",")
        assert {"node1", "node2", "10.0.0.1", "10.0.0.2", "localhost"} <= set(named)
    finally:
        assert share.end() == []
