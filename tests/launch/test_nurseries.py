"""Processes that ranks are forked from: who shares one, and what becomes of a launch without."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from suite.config.model import RunConfig
from suite.contract.case import FORKED, FRESH, Case
from suite.launch import nurseries
from suite.launch.group import LaunchRequest, Outcome
from suite.launch.nurseries import Nurseries
from suite.launch.nursery import Nursery
from suite.launch.starter import Starter
from suite.machine.devices import allowed_cores
from suite.measure.links import measure, plans_for_run
from tests.conftest import launch_case, written


@pytest.fixture
def forking() -> Iterator[Nurseries]:
    made = Nurseries()
    yield made
    made.renew()


@pytest.fixture
def case(fake: Case) -> Case:
    return replace(fake, start=FORKED)


def _starts(outcome: Outcome) -> set[str]:
    assert outcome.status == "ok", outcome.reason
    return {record["ledger"]["start"] for record in outcome.records}


def test_launches_of_a_block_share_one_and_those_of_the_next_another(
    case: Case, forking: Nurseries, tmp_path: Path
) -> None:
    other = replace(case, strategy="inter_layer", variant="gpipe")
    for number, each in enumerate((case, other, case)):
        assert _starts(launch_case(each, tmp_path / str(number), launcher=forking)) == {"forked"}
    (first,) = forking.found.values()
    forking.renew()
    assert not first.process.is_running()
    launch_case(case, tmp_path / "next", launcher=forking)
    (second,) = forking.found.values()
    assert second.process.pid != first.process.pid


def test_a_sweep_of_links_is_forked_too_and_its_imports_serve_the_first_block(
    case: Case, forking: Nurseries, tmp_path: Path
) -> None:
    (plan,) = plans_for_run([replace(case, strategy="single", devices=1), case])
    samples, outcome = measure(plan, tmp_path, 60.0, launcher=forking)
    assert outcome.status == "ok" and samples, outcome.reason
    assert [record["start"] for record in outcome.records] == ["forked", "forked"]
    (swept,) = forking.found.values()
    starter = Starter(RunConfig(), tmp_path, forking)
    starter.begin_block(launched=False)
    assert _starts(launch_case(case, tmp_path / "first", launcher=forking)) == {"forked"}
    assert list(forking.found.values()) == [swept]
    starter.begin_block()
    assert not forking.found and not swept.process.is_running()


def test_what_a_block_needs_is_imported_before_its_first_launch_and_all_at_once(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = []

    def note(nursery: Nursery) -> None:
        importing.append(len(forking.found))
        waiting(nursery)

    def cases() -> Iterator[Case]:
        yield case
        yield replace(case, strategy="single", devices=1)
        monkeypatch.setenv("FAKE_OTHER", "1")
        yield case

    waiting = Nursery.await_ready
    monkeypatch.setattr(Nursery, "await_ready", note)
    starter = Starter(RunConfig(), tmp_path, forking)
    starter.begin_block(cases())
    assert importing == [2, 2] and all(nursery.ready for nursery in forking.found.values())
    prepared = {nursery.process.pid for nursery in forking.found.values()}
    assert _starts(launch_case(case, tmp_path / "a", launcher=forking)) == {"forked"}
    assert {nursery.process.pid for nursery in forking.found.values()} == prepared
    starter.begin_block([case])
    (anew,) = forking.found.values()
    assert anew.ready and anew.process.pid not in prepared


def test_nothing_is_prepared_for_new_processes_or_in_scarce_memory(
    fake: Case, case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = Starter(RunConfig(), tmp_path, forking)
    starter.begin_block([fake])
    assert not forking.found
    monkeypatch.setattr(nurseries, "available_bytes", lambda: 1 << 30)
    starter.begin_block([case])
    assert not forking.found


def test_a_preparation_that_fails_leaves_its_launch_to_new_processes(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "pool")
    starter = Starter(RunConfig(), tmp_path, forking)
    for _ in range(2):
        starter.begin_block([case])
        assert not forking.found
    assert set(forking.refused.values()) == {"what it imports has started threads: 2 run"}
    assert _starts(launch_case(case, tmp_path / "a", launcher=forking)) == {"fresh"}


def test_a_sweep_starts_as_its_cases_do(case: Case) -> None:
    for start, other in ((FORKED, FORKED), (FORKED, FRESH), (FRESH, FRESH)):
        cases = [replace(case, start=start),
                 replace(case, start=other, strategy="inter_layer", variant="gpipe")]
        (plan,) = plans_for_run(cases)
        assert plan.case.start == (FORKED if start == other == FORKED else FRESH)


def test_what_is_read_while_importing_is_not_shared(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_case(case, tmp_path / "a", launcher=forking)
    monkeypatch.setenv("FAKE_OTHER", "1")
    assert _starts(launch_case(case, tmp_path / "b", launcher=forking)) == {"forked"}
    assert len(forking.found) == 2


def test_a_framework_that_starts_threads_has_new_processes_and_the_ledger_says_why(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "pool")
    outcome = launch_case(case, tmp_path / "a", launcher=forking)
    assert _starts(outcome) == {"fresh"} and not forking.found
    said = "what it imports has started threads: 2 run"
    assert [record["ledger"]["not_forked"] for record in outcome.records] == [said, said]
    assert set(forking.refused.values()) == {said}


def test_what_cannot_be_imported_says_so_in_its_own_words(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "import")
    outcome = launch_case(case, tmp_path / "a", launcher=forking)
    assert "in import ended with code 1: ImportError: planted" in outcome.reason, outcome
    (said,) = forking.refused.values()
    assert said == "what imports for it ended with code 1: ImportError: planted"


def test_a_case_that_says_fresh_has_new_processes(
    fake: Case, forking: Nurseries, tmp_path: Path
) -> None:
    assert _starts(launch_case(fake, tmp_path / "a", launcher=forking)) == {"fresh"}


def test_a_launch_ends_with_its_nursery(
    case: Case, forking: Nurseries, tmp_path: Path
) -> None:
    def kill(_pids: object) -> str:
        for nursery in forking.found.values():
            with suppress(ProcessLookupError):
                os.kill(nursery.process.pid, signal.SIGKILL)
        return ""

    long = replace(case, steps=10**6)
    path, inputs = written(long, tmp_path / "a")
    outcome = forking(LaunchRequest(
        long, path, inputs, tmp_path / "a", allowed_cores()[:2], 60.0, guard=kill))
    assert outcome.status == "failed" and "SIGKILL" in outcome.reason, outcome
    assert outcome.seconds < 20 and not forking.found
    assert _starts(launch_case(case, tmp_path / "b", launcher=forking)) == {"forked"}


@pytest.mark.parametrize("scarce", [True, False])
def test_idle_nurseries_give_scarce_memory_back(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scarce: bool
) -> None:
    monkeypatch.setattr(nurseries, "available_bytes", lambda: 1 << (30 if scarce else 40))
    launch_case(case, tmp_path / "a", launcher=forking)
    monkeypatch.setenv("FAKE_OTHER", "1")
    assert _starts(launch_case(case, tmp_path / "b", launcher=forking)) == {"forked"}
    assert len(forking.found) == (1 if scarce else 2)


def test_forks_choose_their_own_names_and_numbers(
    case: Case, forking: Nurseries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "chance")
    launched = partial(launch_case, case, launcher=forking)
    drawn = [launched(tmp_path / name).records[rank]["ledger"]["chance"]
             for name in "ab" for rank in (0, 1)]
    assert len(set(drawn)) == 4
