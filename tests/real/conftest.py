"""Truths planted in real processes, and the table of what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from suite.analysis.communication import communication, waits
from suite.analysis.transfers import scheduling_seconds
from suite.contract.case import Case
from suite.contract.records import read_records
from suite.launch.group import Outcome
from suite.machine.devices import allowed_cores
from suite.machine.software import installed_version
from tests.conftest import Launch, forked, launch_case
from tests.real.cells import Find, Records, unable

DELAY_S, ATTEMPTS = 0.050, 3
# What a core loses to others before a miss says nothing; an idle machine loses under 1 %.
LOST_LIMIT = 0.05
NEEDED = {"torch": "torch", "tensorflow": "tensorflow-cpu", "horovod": "horovod"}


@dataclass(frozen=True)
class Truth:
    """What was planted, what was found, and between which bounds it had to be."""

    what: str
    planted: str
    found: float
    low: float
    high: float


FOUND = pytest.StashKey[list[Truth]]()


@pytest.fixture
def truth(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Asserts ``low <= found <= high`` and keeps it for the table at the end of the run.

    A miss proves nothing while others use the cores: then the test is skipped and says so.
    """
    kept = request.config.stash.setdefault(FOUND, [])

    def check(what: str, planted: str, found: float, low: float, high: float) -> None:
        kept.append(Truth(what, planted, found, low, high))
        if not low <= found <= high and (lost := lost_share()) > LOST_LIMIT:
            pytest.skip(f"others take {lost:.0%} of a core, so nothing can be timed: {kept[-1]}")
        assert low <= found <= high, kept[-1]

    return check


def lost_share(seconds: float = 0.5) -> float:
    """Largest share of a core's time that a thread which only computes does not get there."""
    before, lost = os.sched_getaffinity(0), 0.0
    try:
        for core in allowed_cores():
            os.sched_setaffinity(0, {core})
            began, used = time.perf_counter(), time.thread_time()
            while time.perf_counter() - began < seconds:
                pass
            wall = time.perf_counter() - began
            lost = max(lost, 1 - (time.thread_time() - used) / wall)
    finally:
        os.sched_setaffinity(0, before)
    return lost


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``make accuracy`` is read here; every run of these tests prints it."""
    kept = terminalreporter.config.stash.get(FOUND, [])
    if not kept:
        return
    terminalreporter.section("planted truths")
    width = max(len(one.what) for one in kept)
    for one in kept:
        verdict = "ok" if one.low <= one.found <= one.high else "MISSED"
        terminalreporter.write_line(
            f"{one.what:{width}}  planted {one.planted:>14}  found {one.found:>10.4g}"
            f"  allowed {one.low:.4g} to {one.high:.4g}  {verdict}"
        )


@contextmanager
def planted(case: Case, plant: str) -> Iterator[None]:
    """With a plant for what is launched; skips where a framework of the case is missing."""
    for name in {case.engine, "tensorflow" if case.framework == "planted_tf" else "torch"}:
        if not installed_version([NEEDED[name]]):
            pytest.skip(f"{name} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANT", plant)
        yield


def launch_planted(case: Case, plant: str, folder: Path, turned: bool = False) -> Records:
    """The ranks' records of a launch with a plant."""
    with planted(case, plant):
        outcome = launch_case(forked(case), folder, turned=turned)
    assert outcome.status == "ok", outcome.reason
    return read_records(outcome.records)


@pytest.fixture
def start(tmp_path: Path) -> Launch:
    """Launches a case as a run does; returns how it ended and its folder."""

    def run(case: Case, timeout_s: float = 120.0) -> tuple[Outcome, Path]:
        folder = tmp_path / case.case_id
        return launch_case(forked(case), folder, timeout_s), folder

    return run


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """Launches a case once, and finds its folder."""

    @cache
    def find(case: Case) -> Path:
        folder = tmp_path_factory.mktemp("cell") / case.case_id
        outcome = launch_case(forked(case), folder)
        assert outcome.status == "ok", outcome.reason
        return folder

    return find


@pytest.fixture
def ran(request: pytest.FixtureRequest, launched: Find, start: Launch) -> Find:
    """The folder of the test's ``case``, which tests of the same case share.

    Another attempt launches again: the same records would say the same.
    """

    def find(case: Case) -> Path:
        if reason := unable(case):
            pytest.skip(reason)
        if getattr(request.node, "execution_count", 1) == 1:
            return launched(case)
        outcome, folder = start(case)
        assert outcome.status == "ok", outcome.reason
        return folder

    return find


@dataclass(frozen=True)
class Late:
    """What late steps have more than punctual ones, seconds: of the other device alone."""

    wait_s: float
    transfer_s: float
    exposed_s: float
    scheduling_s: float

    @property
    def as_planted(self) -> bool:
        return (
            abs(self.wait_s - DELAY_S) <= 0.005
            and abs(self.transfer_s) <= 0.005
            and abs(self.scheduling_s) <= 0.005
            and self.exposed_s >= 0.9 * self.wait_s
        )


def late_devices(
    adapter: str, column: str, cells: Sequence[tuple[str, str]], folder: Path
) -> dict[tuple[str, str], Late]:
    """Late and punctual steps take turns in a launch, so that drift meets both alike.

    The cells that a busy machine spoilt are launched again, ``ATTEMPTS`` times at the most.
    """
    found: dict[tuple[str, str], Late] = {}
    for attempt in range(ATTEMPTS):
        missed = [cell for cell in cells if cell not in found or not found[cell].as_planted]
        if not missed:
            break
        cases = [Case(adapter, column, *cell, "mlp", "tiny", "real", "cpu", 2, steps=3,
                      warmup_limit=20, probe_steps=20) for cell in missed]
        for cell, case in zip(missed, cases, strict=True):
            own = folder / f"{attempt}-{case.case_id}"
            found[cell] = _lateness(launch_planted(case, f"delay:0:{DELAY_S}", own))
    return found


def _lateness(records: Records) -> Late:
    # Up to the check after the clean steps their number is even: the first timed one is punctual.
    punctual, late = _every_second(records, 0), _every_second(records, 1)
    before, after = communication(punctual), communication(late)
    return Late(
        waits(late)[1] - waits(punctual)[1],
        after["t_comm_transfer_s"] - before["t_comm_transfer_s"],
        # A mean over the two devices, of which one waits.
        2 * (after["t_comm_exposed_s"] - before["t_comm_exposed_s"]),
        (scheduling_seconds(late) or 0.0) - (scheduling_seconds(punctual) or 0.0),
    )


def _every_second(records: Records, first: int) -> Records:
    return [
        replace(record, traces=record.traces[first::2], profiles=record.profiles[first::2])
        for record in records
    ]
