"""How many steps a launch times: planted transfers, ranks in threads, and a clock of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

from suite.analysis.communication import communication
from suite.contract.adapter import RankRecord, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.probing import MOST_SECONDS, MOST_STEPS
from suite.contract.records import CommEvent
from suite.ranks.probing import _told, known, transfer_seconds
from suite.ranks.train import MeasuredTraining
from tests.fake_adapter.adapters.fake.session import FakeSession

CASE = Case("fake", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2, steps=2,
            warmup_limit=20, probe_precision=0.1)
STEP_S = 0.1
# Transfers of successive steps in seconds: how they scatter decides how many are needed.
STEADY = [0.0100, 0.0101, 0.0099, 0.0100, 0.0102] * 8
RESTLESS = [0.007, 0.013, 0.008, 0.012, 0.010] + [0.010] * 35
HOPELESS = [0.001, 0.020] * 20
# How long rank 0 waits for rank 1: as restless as can be, and no transfer.
WAITS = [0.0, 0.03, 0.001, 0.05, 0.02] * 8


class Meeting:
    """Where ranks in threads of one process meet; it breaks if one of them does not come."""

    def __init__(self, ranks: int) -> None:
        self.barrier = Barrier(ranks, timeout=5)
        self.told: list[Any] = [None] * ranks
        self.exchanges = 0

    def gather(self, rank: int, told: Any) -> list[Any]:
        self.told[rank] = json.loads(json.dumps(told))
        self.barrier.wait()
        found = list(self.told)
        self.barrier.wait()
        return found


class Alone(FakeSession):
    """One all-reduce a step that takes as planted; it cannot tell other ranks of it."""

    def __init__(self, rank: Rank, transfers: Sequence[float], step_s: float) -> None:
        super().__init__(CASE, rank, {})
        self.transfers, self.step_s = list(transfers), step_s
        self.now, self.timed, self.silent = 0.0, 0, 0

    def clock(self) -> float:
        return self.now

    def timed_step(self, index: int) -> StepTrace:
        ready = self.now + WAITS[self.timed]
        end = ready + self.transfers[self.timed]
        start = ready if self.rank.index else self.now
        self.timed, self.now = self.timed + 1, self.now + self.step_s
        return StepTrace([CommEvent("all_reduce", 8, start, end, key="sum")], seconds=self.step_s)

    def silent_step(self, index: int) -> None:
        self.silent += 1


class Telling(Alone):
    """The same in a group."""

    def __init__(self, meeting: Meeting, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.meeting = meeting

    def agree(self, ready: bool) -> bool:
        return all(self.meeting.gather(self.rank.index, ready))

    def exchange(self, told: Any) -> list[Any]:
        self.meeting.exchanges += 1
        return self.meeting.gather(self.rank.index, told)


class Mistaken(Telling):
    """To this rank every transfer seems to take equally long."""

    def exchange(self, told: Any) -> list[Any]:
        return [[host, spent, [[length, [[key, role, 0.0, 0.01, device]
                                         for key, role, _, _, device in events]]
                               for length, events in steps]]
                for host, spent, steps in super().exchange(told)]


Make = Callable[[Meeting, Rank], Alone]


def _made(transfers: Sequence[float], step_s: float = STEP_S) -> Make:
    return lambda meeting, rank: Telling(meeting, rank, transfers, step_s)


def _train(folder: Path, make: Make, case: Case = CASE) -> tuple[list[int], Meeting]:
    """Trains in a thread for each rank; returns how many steps each timed."""
    meeting, records = Meeting(2), [RankRecord(0), RankRecord(1)]
    sessions = [make(meeting, Rank(index, 2, folder)) for index in range(2)]
    threads = [
        Thread(target=MeasuredTraining(session, case, session.rank, session.clock, record).measure)
        for session, record in zip(sessions, records, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not meeting.barrier.broken
    for session, record in zip(sessions, records, strict=True):
        assert session.timed == len(record.traces) == len(record.timed_step_seconds)
        assert len(record.silent_step_seconds) == case.probe_steps == session.silent - 1
    return [session.timed for session in sessions], meeting


@pytest.mark.parametrize(("transfers", "steps"), [
    (STEADY, 5), (RESTLESS, 15), (HOPELESS, MOST_STEPS),
], ids=["steady", "restless", "hopeless"])
def test_as_many_steps_are_timed_as_the_transfer_needs(
    tmp_path: Path, transfers: list[float], steps: int
) -> None:
    assert _train(tmp_path, _made(transfers))[0] == [steps, steps]


def test_nothing_is_asked_where_nothing_more_may_be_timed(tmp_path: Path) -> None:
    """The cases without a precision, with as many steps as there may be, and of one device."""
    for change in ({"probe_precision": 0.0}, {"probe_steps": MOST_STEPS}, {"devices": 1}):
        case = replace(CASE, **change)  # type: ignore[arg-type]
        timed, meeting = _train(tmp_path, _made(HOPELESS), case)
        assert timed == [case.probe_steps] * 2 and not meeting.exchanges


def test_a_session_that_cannot_tell_times_what_was_asked_for(tmp_path: Path) -> None:
    def alone(meeting: Meeting, rank: Rank) -> Alone:
        return Alone(rank, HOPELESS, STEP_S)

    assert _train(tmp_path, alone)[0] == [5, 5]


def test_fewer_first_steps_never_suffice(tmp_path: Path) -> None:
    """The range of three steps holds their median with 75 %; and the last window is shorter."""
    three = replace(CASE, probe_steps=3)
    assert _train(tmp_path, _made(STEADY), three)[0] == [8, 8]
    assert _train(tmp_path, _made(HOPELESS), three)[0] == [MOST_STEPS] * 2


@pytest.mark.parametrize(("slow", "steps"), [(0.5, 15), (1.0, 5), (0.19, MOST_STEPS)])
def test_the_slowest_clock_bounds_the_pass(tmp_path: Path, slow: float, steps: int) -> None:
    """Rank 1 alone sees long steps; the window that would pass the bound is not begun."""
    def made(meeting: Meeting, rank: Rank) -> Alone:
        return Telling(meeting, rank, HOPELESS, slow if rank.index else 0.01)

    assert _train(tmp_path, made)[0] == [steps] * 2
    assert steps * slow <= MOST_SECONDS


class Building(Telling):
    """Its first step with probes builds a graph, which is no part of the step's seconds."""

    def timed_step(self, index: int) -> StepTrace:
        trace = super().timed_step(index)
        self.now += 4.0 if self.timed == 1 else 0.0
        return trace


def test_what_the_first_step_builds_is_not_expected_again(tmp_path: Path) -> None:
    def made(meeting: Meeting, rank: Rank) -> Alone:
        return Building(meeting, rank, HOPELESS, 0.1)

    assert _train(tmp_path, made)[0] == [MOST_STEPS] * 2


def test_ranks_that_disagree_go_on_together(tmp_path: Path) -> None:
    def made(meeting: Meeting, rank: Rank) -> Alone:
        return (Mistaken if rank.index else Telling)(meeting, rank, HOPELESS, STEP_S)

    assert _train(tmp_path, made)[0] == [MOST_STEPS] * 2


def test_a_transfer_that_does_not_matter_is_known_roughly(tmp_path: Path) -> None:
    """Of a step of 0.1 s it is 0.1 ms, so that twice as much would change nothing."""
    assert _train(tmp_path, _made([0.01 * one for one in HOPELESS]))[0] == [5, 5]


def test_what_never_took_time_is_known() -> None:
    assert known([(0.0, 0.1)], 0.1) and not known([(0.01, 0.1)], 0.1)


def _events(random: np.random.Generator, device: int, last: int) -> list[CommEvent]:
    """Of a pipeline, an all-reduce that overlaps its hops, and one of all ranks."""
    begin, end = sorted(random.uniform(0, 1, 2))
    hops = [CommEvent("send_recv", 8, *sorted(random.uniform(0, 1, 2)), key=f"hop{cut}", role=role)
            for cut, role in ((device, "send"), (device - 1, "recv")) if 0 <= cut < last]
    both = CommEvent("all_reduce", 8, float(begin), float(end), key="sum")
    return [*hops, both, CommEvent("all_reduce", 8, float(random.uniform(0, 2)), 2.5, key="all")]


def test_ranks_compute_the_transfer_that_the_row_has() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        traces = [StepTrace(_events(random, device, 2)) for device in range(3)]
        records = [RankRecord(rank, step_seconds=[1.0], traces=[trace], host="one")
                   for rank, trace in enumerate(traces)]
        ranks = [("one", _told(trace)[1]) for trace in traces]
        expected = communication(records)["t_comm_transfer_s"]
        assert transfer_seconds(ranks) == pytest.approx(expected)


def test_clocks_of_two_hosts_are_not_compared() -> None:
    """The other host started an hour earlier, so its clock is ahead."""
    def told(start: float, end: float) -> list[Any]:
        return [["sum", "member", start, end, 0]]

    ranks = [("one", told(0.0, 0.3)), ("two", told(3600.2, 3600.3))]
    assert transfer_seconds(ranks) == pytest.approx((0.3 + 0.1) / 2)
