"""What a run's launches are given: cores, inputs, limits, and words for what went wrong."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.launch import starter
from suite.launch.group import LaunchRequest, Outcome
from suite.launch.starter import BY_KERNEL, Starter
from suite.machine import devices, memory

FINE = Outcome("ok", "", 1.0, [])


class Taker:
    """A launcher that keeps what it is asked for, and answers with one outcome."""

    def __init__(self, outcome: Outcome = FINE) -> None:
        self.outcome = outcome
        self.requests: list[LaunchRequest] = []

    def __call__(self, request: LaunchRequest) -> Outcome:
        self.requests.append(request)
        return self.outcome


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Starter]:
    """A starter on a machine with these cores, of which each ``threads`` share a physical one."""

    def make(taker: Taker, cores: int = 4, threads: int = 1, **options: object) -> Starter:
        monkeypatch.setattr(devices, "allowed_cores", lambda: list(range(cores)))
        groups = [[core + n * (cores // threads) for n in range(threads)]
                  for core in range(cores // threads)]
        monkeypatch.setattr(starter, "physical_cores", lambda _: groups)
        monkeypatch.setattr(starter, "physical_first", list)
        return Starter(RunConfig(**options), tmp_path, taker)

    return make


def test_cores_turn_from_block_to_block(made: Callable[..., Starter], fake: Case) -> None:
    own = made(Taker())
    assert [own.cores_of(fake, block) for block in range(5)] == [
        [0, 1], [1, 2], [2, 3], [3, 0], [0, 1]]


def test_threads_of_one_core_are_taken_where_there_is_no_other(
    made: Callable[..., Starter], fake: Case
) -> None:
    own = made(Taker(), cores=4, threads=2)
    assert [own.cores_of(fake, block) for block in range(3)] == [[0, 1], [1, 0], [0, 1]]
    three = replace(fake, devices=3)
    assert [own.cores_of(three, block) for block in range(2)] == [[0, 1, 2], [1, 2, 3]]
    assert own.cores_of(replace(fake, devices=5), 1) == [1, 2, 3, 0]


def test_a_plan_by_speed_stays_on_its_cores_and_hosts_deal_their_own(
    made: Callable[..., Starter], fake: Case
) -> None:
    own = made(Taker())
    assert own.cores_of(replace(fake, device_speeds=(1.0, 0.5)), 3) == [0, 1]
    assert own.cores_of(replace(fake, hosts=2), 3) == []
    # A host thread drives a GPU, others compile and copy.
    assert own.cores_of(replace(fake, device="cuda"), 3) == [0, 1, 2, 3]


def test_a_quota_bounds_the_usable_cores(
    made: Callable[..., Starter], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = made(Taker())
    for quota, usable in ((2, 2), (64, 4)):
        monkeypatch.setattr(starter.limits, "usable_cores", lambda quota=quota: quota)
        assert own.usable_cores == usable


def test_inputs_are_written_once_and_the_request_says_what_was_asked(
    made: Callable[..., Starter], fake: Case, tmp_path: Path
) -> None:
    taker = Taker()
    own = made(taker, python={"fake": "/opt/python"}, timeout=77.0)
    own.settings = {"NAME": "value"}
    own.start(fake, tmp_path / "a")
    written = taker.requests[0].inputs_path
    before = written.stat().st_mtime_ns
    own.start(replace(fake, strategy="single", devices=1), tmp_path / "b", block=1, seconds=5.0)
    first, second = taker.requests
    assert second.inputs_path == written and written.stat().st_mtime_ns == before
    assert np.load(written)["features"].shape[0] > 0
    assert (first.python, first.timeout_seconds, first.settings) == (
        "/opt/python", 77.0, {"NAME": "value"})
    assert (second.timeout_seconds, second.cores, second.dealt) == (5.0, [1], [])
    assert Case.read(first.case_path) == fake
    # References are launched without a run's settings.
    own.unset().start(fake, tmp_path / "c")
    assert taker.requests[-1].settings == {} and own.settings == {"NAME": "value"}


@pytest.mark.parametrize(("error", "status", "words"), [
    (MemoryError("1 GiB"), "oom", "the batches do not fit in memory: 1 GiB"),
    (OSError(errno.ENOSPC, "No space left on device"), "failed", "No space left on device"),
])
def test_what_cannot_be_prepared_is_the_outcome(
    made: Callable[..., Starter], fake: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: Exception, status: str, words: str,
) -> None:
    def fails(*_: object) -> None:
        raise error

    taker = Taker()
    own = made(taker)
    monkeypatch.setattr(starter, "load_data", fails)
    outcome = own.start(fake, tmp_path / "a")
    assert (outcome.status, outcome.seconds, taker.requests) == (status, 0.0, [])
    assert words in outcome.reason


@pytest.mark.parametrize(("reason", "kills", "status"), [
    ("rank 1 ended with signal SIGKILL", (3, 4), "oom"),
    ("rank 1 ended with signal SIGKILL", (3, 3), "failed"),
    ("rank 1 ended with code 1", (3, 4), "failed"),
])
def test_what_the_kernel_killed_for_memory_is_out_of_memory(
    made: Callable[..., Starter], fake: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    reason: str, kills: tuple[int, int], status: str,
) -> None:
    counted = iter(kills)
    monkeypatch.setattr(memory, "kernel_kills", lambda: next(counted))
    outcome = made(Taker(Outcome("failed", reason, 2.0, []))).start(fake, tmp_path / "a")
    assert outcome.status == status
    assert outcome.reason == reason + BY_KERNEL * (status == "oom")
