"""The fault matrix on the fake adapter: real processes, and judges that find what is planted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.faults import KINDS, PHASES, Fault, every_fault
from suite.launch import group, processes
from suite.launch.group import LaunchRequest, Outcome, launch
from suite.measure import faults
from suite.measure.faults import FaultBench, Trial, columns, with_ranks
from suite.measure.leaks import own_temporary_files
from suite.ranks import entry

# The fake adapter's ranks wait for nobody: a collective is never in flight, and no loss is NaN.
MATRIX = [fault for fault in every_fault()
          if fault.phase != "collective" and fault.kind != "nan"]
# One phase each: the others do the same in another place, and `make soak` draws from all.
CHEAP = [[fault for fault in MATRIX if fault.kind == kind][::-1][number % 6 :][:1] or
         [fault for fault in MATRIX if fault.kind == kind]
         for number, kind in enumerate(dict.fromkeys(fault.kind for fault in MATRIX))]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultBench]:
    # Shorter than a run's, but beside other tests a rank takes seconds to run out of memory.
    monkeypatch.setattr(faults, "LEAST_PATIENCE_SECONDS", 6.0)
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 1 << 20)
    with own_temporary_files(tmp_path / "tmp"):
        yield FaultBench(RunConfig(workload=["mlp"]), tmp_path / "run", f"test-{id(tmp_path)}")


@pytest.fixture
def fake_case() -> Case:
    (case, reason), = columns(["fake"], {}).values()
    assert not reason
    return replace(case, data="synthetic")


def test_every_kind_is_bounded_named_and_cleaned_up_after(
    bench: FaultBench, fake_case: Case
) -> None:
    assert bench.prepare(fake_case) == ""
    for fault in with_ranks([one[0] for one in CHEAP], fake_case):
        found = bench.plant("fake", fake_case, fault)
        assert not found.problems, found
        assert found.survivors == 0 and found.named and found.next_clean


def test_the_phases_are_those_that_ranks_enter() -> None:
    named = {value for name, value in vars(entry).items()
             if name.isupper() and isinstance(value, str)}
    assert set(PHASES.values()) <= named


def test_every_kind_can_be_struck() -> None:
    from suite.ranks.faulty import STRIKES

    assert {*STRIKES, "nan"} == set(KINDS)


def _trial(tmp_path: Path, kind: str, outcome: Outcome, began_s: float | None = 10.0) -> Trial:
    if began_s is not None:
        (tmp_path / "fault.json").write_text(f'{{"began_at_s": {began_s}}}')
    (tmp_path / "worker.log").write_text("Python stack of rank 0 in warm-up:\nnot told\n")
    return Trial(Fault(kind, "warm-up", 1), outcome, tmp_path, 20.0, 5.0)


@pytest.mark.parametrize(
    ("kind", "outcome", "began_s", "problem"),
    [
        ("kill", Outcome("ok", "", 1.0, [], 10.1), 10.0, "the row says ok, expected failed"),
        ("kill", Outcome("failed", "rank 1 in warm-up …", 4.0, [], 12.5), 10.0, "later than 2 s"),
        ("kill", Outcome("failed", "rank 0 in warm-up …", 1.0, [], 10.1), 10.0, "does not name"),
        ("kill", Outcome("failed", "rank 1 in warm-up …", 1.0, [], 10.1), None, "never struck"),
        ("hang", Outcome("timeout", "rank 1 in warm-up", 11.0, [], 15.0), 10.0, "longer than 10.0"),
        ("hang", Outcome("timeout", "rank 1 in warm-up", 6.0, [], 15.0), 10.0, "Python stack"),
    ],
)
def test_a_bound_that_is_left_is_said(
    tmp_path: Path, kind: str, outcome: Outcome, began_s: float | None, problem: str
) -> None:
    trial = _trial(tmp_path, kind, outcome, began_s)
    assert problem in "; ".join(trial.problems(outcome.status, outcome.reason))


def test_what_is_left_behind_is_found(
    bench: FaultBench, fake_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that forgets to end its processes and its files is caught."""
    monkeypatch.setattr(group.ProcessGroup, "end", lambda self: [])
    monkeypatch.setattr("suite.launch.temporary.shutil.rmtree", lambda *args, **kinds: None)
    bench.patience_s = dict.fromkeys([fake_case, replace(fake_case, steps=3)], 3.0)
    found = bench.plant("fake", fake_case, Fault("grandchild", "measured", 1))
    left = "; ".join(found.problems)
    assert found.survivors >= 1 and "process " in left and "temporary suite-launch-" in left
    assert found.next_clean is False


def test_without_a_fault_a_launch_has_neither_the_module_nor_the_variable(
    bench: FaultBench, fake_case: Case
) -> None:
    seen: list[LaunchRequest] = []

    def watch(request: LaunchRequest) -> Outcome:
        seen.append(request)
        return launch(request)

    bench.launcher = watch
    assert bench._start(fake_case)[0].status == "ok"
    assert {request.worker for request in seen} == {"suite.ranks.train"}
    assert not any("SUITE_PLANTED_FAULT" in request.settings for request in seen)


def test_memory_after_the_passes_with_probes_costs_their_figures_only() -> None:
    late, early = Fault("memory", "teardown"), Fault("memory", "measured")
    assert late.statuses(probed=True) == ("oom", "ok")
    assert late.statuses(probed=False) == early.statuses(probed=True) == ("oom",)
    assert Fault("raise", "teardown").statuses(probed=True) == ("failed",)
