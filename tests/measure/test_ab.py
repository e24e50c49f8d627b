"""A against B with a launcher that starts nothing: planted truths, lost launches, interruptions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.config.sides import SideText, resolve_sides
from suite.launch.group import LaunchRequest, Outcome
from suite.measure.ab import AbRun
from suite.report.ab import answer, closing, heading
from suite.runfolder.reading import read_run
from tests.measure.test_runner import FakeCalibration, FakeLauncher

COMMON: dict[str, Any] = {"framework": ["pytorch"], "strategy": ["data"], "size": "tiny",
                          "data": "synthetic"}
DRIFT, NOISE = 0.10, 0.015


class TwoSided(FakeLauncher):
    """Launches drift together by the block, scatter by themselves, and side B is ``slower``.

    ``crash`` has (side, block) of launches that fail, ``interrupt`` of one that is interrupted.
    """

    def __init__(self, slower: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.slower = slower
        self.drift = np.random.default_rng(1000 + seed).normal(0, DRIFT, 100)
        self.random = np.random.default_rng(seed)
        self.crash: set[tuple[str, int]] = set()
        self.interrupt: tuple[str, int] | None = None
        self.requests: list[LaunchRequest] = []

    def __call__(self, request: LaunchRequest) -> Outcome:
        self.requests.append(request)
        outcome = super().__call__(request)
        name = request.folder.name
        if not name.startswith("launch-"):
            return outcome
        side, block = request.folder.parents[2].name, int(name.partition("-")[2])
        if (side, block) == self.interrupt:
            raise KeyboardInterrupt
        if (side, block) in self.crash:
            return Outcome("failed", "planted crash", 0.1, [])
        factor = np.exp(self.drift[block] + self.random.normal(0, NOISE))
        factor *= self.slower if side == "b" else 1.0
        for record in outcome.records:
            record["step_seconds"] = [float(one * factor) for one in record["step_seconds"]]
        return outcome


def _ab(
    folder: Path, launcher: TwoSided, b: SideText | None = None, **options: Any
) -> AbRun:
    config, *plans = resolve_sides(COMMON | {"probes": 0} | options, SideText(),
                                   b or SideText(), 0)
    for plan in plans:
        (folder / plan.name / "cases").mkdir(parents=True)
    run = AbRun(config, (plans[0], plans[1]), folder, lambda event: None, launcher,
                calibrate=FakeCalibration(),  # type: ignore[arg-type]
                clock=lambda: launcher.now)
    for side in run.sides:
        side.starter.cores = [0, 1]
    return run


def _table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "ab.csv").open() as stream:
        return {row["metric"]: row for row in csv.DictReader(stream)}


def _verdicts(tmp_path: Path, slower: float) -> list[str]:
    found = []
    for seed in range(20):
        run = _ab(tmp_path / str(seed), TwoSided(slower, seed), seed=seed)
        run.execute()
        assert len(run.blocks) <= 12
        found.append(run.rows[0].verdict)
    return found


def test_three_per_cent_are_found_under_a_drift_of_ten(tmp_path: Path) -> None:
    assert _verdicts(tmp_path, 1.03).count("slower") >= 18


def test_an_a_a_test_tells_no_difference(tmp_path: Path) -> None:
    assert _verdicts(tmp_path, 1.0).count("tie") >= 19


def test_the_order_within_blocks_is_random_and_the_seeds_own(tmp_path: Path) -> None:
    orders = []
    for place, seed in (("x", 1), ("y", 1), ("z", 2)):
        run = _ab(tmp_path / place, TwoSided(), seed=seed, precision=0.0001, repeats=24)
        run.execute()
        orders.append(["".join(one) for one in run.run["orders"]])
    assert set(orders[0]) == {"ab", "ba"} and len(orders[0]) == 24
    assert 5 < orders[0].count("ab") < 19
    assert orders[0] == orders[1] != orders[2]


def test_each_block_launches_both_on_the_same_cores_after_both_are_proven(tmp_path: Path) -> None:
    launcher = TwoSided()
    _ab(tmp_path, launcher).execute()
    places = [request.folder.relative_to(tmp_path).as_posix() for request in launcher.requests]
    proven = [place for place in places if "launch-" not in place]
    case_id = launcher.cases[-1].case_id
    # One reference for both: they do the same work.
    assert proven == ["a/cases/reference.mlp-tiny/float64", f"a/cases/proof.{case_id}",
                      f"b/cases/proof.{case_id}"] == places[:3]
    timed = launcher.requests[3:]
    for first, second in zip(timed[::2], timed[1::2], strict=True):
        assert first.folder.name == second.folder.name and first.cores == second.cores
        assert {first.folder.parents[2].name, second.folder.parents[2].name} == {"a", "b"}


def test_settings_reach_the_workers_of_their_side_and_are_recorded(tmp_path: Path) -> None:
    launcher = TwoSided()
    run = _ab(tmp_path, launcher, SideText({"SOME_ALGO": "Ring"}))
    run.execute()
    run.finish("complete")
    given = {(request.folder.relative_to(tmp_path).parts[0],
              request.folder.parent.name.startswith("reference."),
              request.settings.get("SOME_ALGO")) for request in launcher.requests}
    # A reference is held against both, so it has the settings of none.
    assert given == {("a", True, None), ("a", False, None), ("b", False, "Ring")}
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["kind"] == "ab" and stored["sides"]["b"]["settings"] == {"SOME_ALGO": "Ring"}
    assert stored["differences"] == ["environment SOME_ALGO: not set against Ring"]
    assert json.loads((tmp_path / "b" / "run.json").read_text())["settings"] == {
        "SOME_ALGO": "Ring"}
    assert any("SOME_ALGO=Ring" in line for line in heading(run.run))


def test_what_differs_is_told_and_an_a_a_test_is_called_one(tmp_path: Path) -> None:
    run = _ab(tmp_path / "x", TwoSided(), SideText({}, {"accumulate": ["2"]}))
    run.execute()
    # The ledger has it too, and says it no second time.
    assert run.run["differences"] == ["--accumulate: 1 against 2"]
    assert run.rows[0].pairs >= 6  # unlike ledgers keep nothing from comparison
    same = _ab(tmp_path / "y", TwoSided())
    assert same.run["same"] and "A/A test" in " ".join(heading(same.run))


def test_a_failed_launch_leaves_its_pair_out_and_nothing_else(tmp_path: Path) -> None:
    launcher = TwoSided()
    launcher.crash = {("b", 2), ("a", 5), ("a", 6)}
    run = _ab(tmp_path, launcher, precision=0.0001, repeats=10)
    run.execute()
    run.finish("complete")
    assert len(run.blocks) == 10 and run.rows[0].pairs == 7 and not run.problems
    assert _table(tmp_path)["step_time"]["pairs"] == "7"
    told = [one["block"] for side in ("a", "b") for one in run.run["sides"][side]["failed"]]
    assert told == [5, 6, 2] and "planted crash" in " ".join(closing(run.run, run.rows))
    (row,) = read_run(tmp_path / "a").rows()
    assert (row.status, row.repeats) == ("ok", 8)
    assert [one is None for one in row.launch_step_s] == [block in (5, 6) for block in range(10)]


def test_a_side_that_fails_again_and_again_ends_the_run(tmp_path: Path) -> None:
    launcher = TwoSided()
    launcher.crash = {("b", block) for block in range(1, 30)}
    run = _ab(tmp_path, launcher)
    run.execute()
    assert len(run.blocks) == 4 and run.rows[0].pairs == 1
    assert run.problems == ["B failed: 3 launches one after another, the last failed: "
                            "planted crash"]


@pytest.mark.parametrize(("plant", "problem"), [
    (1.01, "A refused:"), ("crash", "A failed: proof: planted"),
])
def test_what_is_not_proven_is_not_timed(tmp_path: Path, plant: Any, problem: str) -> None:
    launcher = TwoSided()
    run = _ab(tmp_path, launcher)
    launcher.plant[run.a.plan.case.case_id] = plant
    run.execute()
    run.finish("failed")
    assert run.problems[0].startswith(problem) and not run.blocks
    assert answer(run.rows).startswith("No block") and not _table(tmp_path)


def test_what_had_finished_survives_an_interruption(tmp_path: Path) -> None:
    launcher = TwoSided(1.2)
    launcher.interrupt = ("b", 4)
    run = _ab(tmp_path, launcher, precision=0.0001)
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    # As a harness that was killed left it, before anything is finished.
    assert _table(tmp_path)["step_time"]["pairs"] == "4"
    assert [row.repeats for row in read_run(tmp_path / "b").rows()] == [4]
    run.finish("interrupted")
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "interrupted"
    assert _table(tmp_path)["step_time"]["pairs"] == "4"


def test_blocks_end_by_precision_repeats_or_budget(tmp_path: Path) -> None:
    ends = {}
    for name, options in (("precision", {"precision": 0.2}), ("repeats", {"precision": 0.0001}),
                          ("budget", {"precision": 0.0001, "budget": 2.0})):
        run = _ab(tmp_path / name, TwoSided(), **{"repeats": 12} | options)
        run.execute()
        ends[run.run["stopped"]] = len(run.blocks)
    # A block takes 0.2 s of the planted clock.
    assert ends == {"precision": 6, "repeats": 12, "budget": 10}


def test_the_table_has_what_was_probed(tmp_path: Path) -> None:
    run = _ab(tmp_path, TwoSided(1.5), probes=6)
    run.execute()
    table = _table(tmp_path)
    assert list(table["step_time"]) == ["metric", "unit", "a", "b", "ratio", "ratio_low",
                                        "ratio_high", "verdict", "pairs"]
    assert {"throughput", "compute_max", "load_balance", "peak_memory"} <= table.keys()
    assert table["step_time"]["verdict"] == table["throughput"]["verdict"] == "slower"
    assert float(table["step_time"]["ratio"]) == pytest.approx(1.5, rel=0.03)
    assert float(table["throughput"]["ratio"]) == pytest.approx(1 / 1.5, rel=0.03)
    assert table["peak_memory"]["verdict"] == "tie" and table["compute_max"]["pairs"] == "6"
