"""A forked rank as the harness sees it: its exit code comes from its nursery, or from its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from suite.launch.nursery import ForkedRank, NotReady, Nursery


class Told:
    """A nursery that tells these codes of a rank, one at each look, the last one for good."""

    def __init__(self, *codes: int | None) -> None:
        self.codes, self.looks = list(codes), 0

    def code_of(self, pid: int) -> int | None:
        self.looks += 1
        if not self.codes:
            raise NotReady("gone")
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this one that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def _rank(sleeper: subprocess.Popen[bytes], *codes: int | None) -> tuple[ForkedRank, Told]:
    nursery: Any = Told(*codes)
    return ForkedRank(sleeper.pid, nursery), nursery


def test_a_code_is_asked_for_until_it_is_told_and_then_kept(
    sleeper: subprocess.Popen[bytes]
) -> None:
    rank, nursery = _rank(sleeper, None, None, 3)
    assert rank.poll() is None and rank.returncode is None
    assert rank.wait() == 3 == rank.returncode and nursery.looks == 3
    assert rank.poll() == 3 and rank.wait(0.0) == 3 and nursery.looks == 3


def test_a_wait_ends_at_its_time_and_says_whom_it_was_for(
    sleeper: subprocess.Popen[bytes]
) -> None:
    rank, _ = _rank(sleeper, None)
    began = time.monotonic()
    with pytest.raises(psutil.TimeoutExpired) as raised:
        rank.wait(0.2)
    assert 0.2 <= time.monotonic() - began < 5 and raised.value.pid == sleeper.pid


def test_a_rank_whose_nursery_is_gone_is_known_by_its_own_end(
    sleeper: subprocess.Popen[bytes]
) -> None:
    rank, _ = _rank(sleeper)
    assert rank.poll() is None
    sleeper.kill()
    assert rank.wait(10.0) == -signal.SIGKILL == rank.poll()


def test_a_nursery_that_cannot_be_started_raises_and_leaves_nothing() -> None:
    with pytest.raises(OSError):
        Nursery("/nowhere/python", ["json"], {})


def test_a_nursery_that_ends_says_how() -> None:
    nursery = Nursery(sys.executable, ["no_such_module_anywhere"], {})
    with pytest.raises(NotReady, match=r"ended with code 1: ModuleNotFoundError: No module named"):
        nursery.await_ready()
    nursery.end()
    assert not nursery.process.is_running()
