"""Threads of this process: event loops are found and give way, waiting for a core is counted."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from suite.contract.threads import (
    RunQueueClock,
    ScheduledLoops,
    event_loop_setting,
    native_threads,
    preferred_event_loops,
    schedule_event_loops,
)

linux = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has it")


@pytest.fixture
def started() -> Iterator[set[int]]:
    """A thread that waits for sockets, and one that waits for a lock."""
    before, ended = native_threads(), threading.Event()
    poll, (reads, writes) = select.epoll(), os.pipe()
    poll.register(reads, select.EPOLLIN)
    threads = [threading.Thread(target=poll.poll), threading.Thread(target=ended.wait)]
    for thread in threads:
        thread.start()
    yield native_threads() - before
    ended.set()
    os.write(writes, b"x")
    for thread in threads:
        thread.join()


@linux
def test_the_event_loop_alone_becomes_a_batch_thread(started: set[int]) -> None:
    assert len(started) == 2
    assert schedule_event_loops(started) == "batch"
    policies = sorted(os.sched_getscheduler(thread) for thread in started)
    assert policies == [os.SCHED_OTHER, os.SCHED_BATCH]


@linux
def test_the_user_may_leave_it_as_it_was(
    started: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUITE_EVENT_LOOPS", "default")
    assert schedule_event_loops(started) == "default"
    assert {os.sched_getscheduler(thread) for thread in started} == {os.SCHED_OTHER}


@linux
@pytest.mark.parametrize(("asked", "found"), [("", "default"), ("batch", "batch")])
def test_what_is_preferred_gives_way_to_the_user(
    started: set[int], monkeypatch: pytest.MonkeyPatch, asked: str, found: str
) -> None:
    monkeypatch.setenv("SUITE_EVENT_LOOPS", asked)
    assert schedule_event_loops(started, "default") == found


@linux
def test_loops_get_the_kernels_policy_back(started: set[int]) -> None:
    loops = ScheduledLoops(started, "batch")
    assert (loops.event_loops, loops.schedule("default")) == ("batch", "default")
    assert {os.sched_getscheduler(thread) for thread in started} == {os.SCHED_OTHER}
    assert loops.schedule("batch") == loops.event_loops == "batch"


def test_stages_keep_the_kernels_policy() -> None:
    assert preferred_event_loops("cpu", ("data", "intra_layer")) == "batch"
    assert preferred_event_loops("cpu", ("data", "inter_layer")) == "default"
    assert preferred_event_loops("cuda", ("data",)) == preferred_event_loops("cuda") == "default"


def test_without_such_a_thread_the_ledger_says_so() -> None:
    assert schedule_event_loops(set()) == "default"


def test_another_setting_is_an_error() -> None:
    with pytest.raises(ValueError, match="batch or default"):
        event_loop_setting({"SUITE_EVENT_LOOPS": "fifo"})


WORK = """
import os, sys, time
from suite.contract.threads import RunQueueClock, native_threads
os.sched_setaffinity(0, {int(sys.argv[1])})
clock, ends = RunQueueClock(native_threads()), time.perf_counter() + 0.5
before = clock.seconds()
while time.perf_counter() < ends: pass
print(clock.seconds() - before)
"""


@linux
def test_waiting_for_a_shared_core_is_counted() -> None:
    """Two that compute for half a second on one core each have it half of the time."""
    core = str(min(os.sched_getaffinity(0)))
    both = [
        subprocess.Popen([sys.executable, "-c", WORK, core], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    waited = [float(process.communicate(timeout=60)[0]) for process in both]
    assert max(waited) > 0.1 and all(seconds < 0.6 for seconds in waited)


def test_a_thread_that_sleeps_waits_for_no_core() -> None:
    before, ended = native_threads(), threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    clock = RunQueueClock(native_threads() - before)
    first = clock.seconds()
    time.sleep(0.05)
    assert clock.seconds() - first < 0.01
    ended.set()
    thread.join()


def test_no_threads_tell_nothing() -> None:
    assert not RunQueueClock(()).tells and RunQueueClock(()).seconds() == 0.0
