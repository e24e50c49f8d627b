"""``python -m suite selftest`` as a user meets it, with the fake adapter."""

from __future__ import annotations

import json

import pytest

from suite.cli.selftest import Wanted
from suite.contract import registry
from suite.contract.errors import UsageError
from suite.contract.faults import KINDS, PHASES
from suite.measure import faults
from suite.measure.harness_faults import HarnessBench
from suite.measure.soak import Round
from suite.report.fault_table import HEAD, line, round_lines, soak_summary, summary
from tests.command import suite_command


@pytest.fixture
def only_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LEAST_PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(registry, "own", lambda: ("fake",))


def test_a_line_for_each_fault_and_json(only_fake: None) -> None:
    done = suite_command("selftest", "--faults", "--framework", "fake", "--fault", "kill,truncated",
                         "--phase", "measured,record", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["findings"]
    assert [(one["fault"], one["where"], one["status"]) for one in found] == [
        ("kill", "rank 1, measured", "failed"), ("kill", "rank 0, record", "failed"),
        ("truncated", "rank 1, record", "failed"),
    ]
    assert all(one["noticed_s"] < 2 and one["next_clean"] and not one["problems"] for one in found)
    assert "3 faults: 3 within every bound, 0 processes left, 0 results lost" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--faults or --soak MINUTES"),
        (["--faults", "--framework", "jax"], "--framework: got 'jax'"),
        (["--faults", "--fault", "gremlin"], "--fault: got 'gremlin'"),
        (["--faults", "--phase", "lunch"], "--phase: got 'lunch'"),
        (["--faults", "--fault", "nan", "--phase", "record"], "no such fault in such a phase"),
    ],
)
def test_what_cannot_be_planted_is_refused(arguments: list[str], words: str) -> None:
    done = suite_command("selftest", *arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_the_whole_matrix_is_every_fault_in_every_phase_where_it_can_strike() -> None:
    whole = Wanted(whole=True)
    assert {one.kind for one in whole.of_ranks} == set(KINDS)
    assert {one.phase for one in whole.of_ranks} == set(PHASES)
    assert set(whole.of_harness) == set(HarnessBench.FAULTS)
    short = Wanted()
    assert len(short.of_ranks) < 6 and set(short.of_harness) < set(HarnessBench.FAULTS)
    assert Wanted(framework=["harness"]).of_harness == list(HarnessBench.FAULTS)
    assert not Wanted(framework=["harness"]).ranks and not Wanted(phase=["record"]).of_harness
    with pytest.raises(UsageError):
        Wanted(fault=["none"]).check()


def test_lines_say_what_was_left() -> None:
    good = faults.Finding("pytorch data", "kill", "rank 1, measured", "failed", "", 0.5, 0.6, True,
                          next_clean=True)
    bad = faults.Finding("pytorch data", "hang", "rank 0, record", "ok", "", survivors=2, lost=1,
                         named=False, next_clean=False, problems=["took long", "process 7: sleep"])
    assert len(HEAD.split()) == 13 and line(good).endswith("clean  ok")
    assert "0.50 s" in line(good) and "NO" in line(bad) and "NOT" in line(bad)
    assert line(bad).endswith("took long; process 7: sleep")
    assert summary([good, bad], ["x"]) == (
        "2 faults: 1 within every bound, 2 processes left, 1 results lost, 1 not tried")


def test_rounds_say_what_was_wrong() -> None:
    bad = Round(2, 4, 6, ["kill in record of a"], 1, ["port 80"], ["b is failed"], 100 << 20)
    said = "\n".join(round_lines(bad))
    assert "4 cases, 6 launches, 1 faults, 1 processes left, harness 100 MiB" in said
    assert said.count("NOT AS IT SHOULD BE") == 2
    assert "1 leaks" in soak_summary([bad], 3 << 20, True) and "and growing" in soak_summary(
        [bad], 3 << 20, True)
