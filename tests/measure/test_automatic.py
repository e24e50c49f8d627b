"""``--strategy auto``: every way is looked at, the best few are halved, and one is chosen."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from suite.analysis.choice import CHOSEN, choose, left_in, questions
from suite.analysis.contenders import HALVING, what_would_tell
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.contract.candidates import Candidate, is_alone, is_plain
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.foresight.fitting import Posterior
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.launch.group import LaunchRequest, Outcome
from suite.measure.automatic import survey
from suite.measure.room import Room
from suite.measure.runner import Runner
from suite.report.choice import candidates_of, told
from suite.report.matrix import build_grids
from suite.report.names import case_name
from suite.report.terminal import answers
from suite.runfolder.reading import read_run
from tests.synthetic import Planted, Still

ROOM = Room(1 << 40)
BEST = "pytorch.inter_layer-1f1b.gpt-tiny.cpu2.accumulate2"


def _ways(**options: Any) -> list[Case]:
    asked = {"strategy": ["auto"], "framework": ["pytorch"], "workload": ["gpt"], "size": "tiny",
             "data": "synthetic", "steps": 12, **options}
    return build_matrix(resolve("quick", None, asked), gpus=0)


def _posterior(case: Case, memory_bytes: float = 0.0) -> Posterior:
    link = Link(1e-5, 1e9)
    machine = Machine("planted", 5e10, 1e-6, 4.0, 1e10, launch_s=1e-6, inside=link, between=link,
                      devices_per_node=2, memory_bytes=memory_bytes, synchronous=True, hop=link)
    return Posterior(lambda theta: Stack(replace(machine, step_s=float(np.exp(theta[0]))), FLOAT32),
                     np.log([1e-4]), np.eye(1) * 0.01, 0.5, 0)


def _run(
    folder: Path, seconds: dict[str, float], cases: list[Case], table: list[Candidate],
    planted: type[Planted] = Planted, **options: Any,
) -> Runner:
    (folder / "cases").mkdir(parents=True)
    config = RunConfig(**{"strategy": ["auto"], "repeats": 3, "steps": 12, "probes": 0,
                          "leader_repeats": 6, **options})
    launcher = planted(seconds, 0, launch_noise=0.004)
    runner = Runner(config, cases, folder, lambda event: None, launcher,
                    calibrate=Still())  # type: ignore[arg-type]
    runner.run["candidates"] = list(map(asdict, table))
    runner.execute()
    runner.finish("complete")
    return runner


def _launches(runner: Runner) -> Counter[str]:
    return Counter(name for block in runner.run["plan"] for name in block)


def _chosen(rows: list[Row]) -> list[str]:
    return [row.case_id for row in rows if row.choice == CHOSEN]


def test_auto_means_every_way_that_computes_the_same() -> None:
    cases = _ways(devices=[4])
    kinds = {(case.strategy, case.variant) for case in cases}
    meshes = {case.mesh for case in cases if case.strategy == "data+inter_layer"}
    assert ("data", "fsdp") in kinds and ("inter_layer", "interleaved") in kinds
    assert meshes == {"data=2,inter_layer=2"} and "data+intra_layer+inter_layer" not in {
        case.strategy for case in cases}
    assert not {"fp16", "bf16"} & {case.variant for case in cases}
    assert {case.accumulate for case in cases} == {1, 2, 4}
    assert {case.recompute for case in cases} == {"none", "blocks"}


def test_what_is_asked_for_narrows_it() -> None:
    cases = _ways(accumulate=[2], recompute=["none"], variant=["zero1", "1f1b"])
    assert {case.accumulate for case in cases} == {2}
    assert {case.variant for case in cases} == {"", "zero1", "1f1b", "gpipe"}
    eight = _ways(devices=[8], mesh=["data=4,inter_layer=2"])
    assert {case.mesh for case in eight if case.mesh} == {"data=4,inter_layer=2"}
    with pytest.raises(UsageError, match="auto alone"):
        _ways(strategy=["auto", "data"])


def test_what_cannot_run_or_does_not_fit_says_why() -> None:
    chosen, table = survey(_ways(), lambda case: _posterior(case, 2.0e6), {}, ROOM, 6)
    fates = Counter(one.fate for one in table)
    assert fates["excluded"] and fates["too large"] and fates["run"] == len(chosen)
    assert any("more than there is" in one.reason for one in table if one.fate == "too large")
    assert all(one.reason for one in table)
    assert len(table) == len({one.case_id for one in table})  # nothing falls under the table
    _, poor = survey(_ways(), _posterior, {}, Room(1 << 10), 6)
    assert {one.fate for one in poor} == {"excluded", "too large"}
    assert all("of memory" in one.reason for one in poor if one.fate == "too large")


def test_the_planted_best_way_is_found_and_chosen(tmp_path: Path) -> None:
    ways = _ways(accumulate=[1, 2], recompute=["none"])
    cases, table = survey(ways, lambda case: None, {}, ROOM, 6)
    runner = _run(tmp_path / "run", {BEST: 0.005}, cases, table)
    assert _chosen(runner.rows) == [BEST]
    counts = _launches(runner)
    rivals = [case for case in cases if not (is_plain(case) or is_alone(case))]
    assert counts[BEST] == max(counts.values())
    # Halved: half of the rivals are launched once, a quarter twice.
    once = sum(counts[case.case_id] == 1 for case in rivals)
    assert once == len(rivals) // 2
    assert all(counts[case.case_id] == len(runner.blocks) for case in cases
               if is_plain(case) or is_alone(case))
    dropped = [row for row in runner.rows if row.stopped == "halving"]
    assert len(dropped) == len(rivals) - len(
        [row for row in left_in(runner.rows) if not (is_plain(row) or is_alone(row))])


class DisturbedOnce(Planted):
    """Another program takes a core for some of the second block: what needs two is slower there."""

    def __call__(self, request: LaunchRequest) -> Outcome:
        whole, case = self.seconds, request.case
        slow = 1.8 if case.devices > 1 and request.folder.name == "launch-1" else 1.0
        self.seconds = {case.case_id: slow * whole.get(case.case_id, 0.01)}
        try:
            return super().__call__(request)
        finally:
            self.seconds = whole


def test_one_disturbed_block_does_not_hide_the_best_way(tmp_path: Path) -> None:
    """Step times as they were measured of ``mlp wide`` in PyTorch, where one device was chosen.

    Of three pairs, the one that points the other way makes the estimate of what would tell useless.
    """
    cases, table = survey(_ways(accumulate=[1], recompute=["none"]), lambda case: None, {}, ROOM, 4)
    best = "pytorch.intra_layer.gpt-tiny.cpu2"
    seconds = {case.case_id: 0.042 for case in cases} | {
        best: 0.0205, "pytorch.data.gpt-tiny.cpu2": 0.024, "pytorch.single.gpt-tiny.cpu1": 0.028}
    runner = _run(tmp_path / "run", seconds, cases, table, DisturbedOnce, leader_repeats=9)
    assert _chosen(runner.rows) == [best]
    assert _launches(runner)[best] > 3


def test_all_ways_stand_in_one_table_and_are_compared_with_each_other(tmp_path: Path) -> None:
    ways = _ways(accumulate=[1, 2], recompute=["none", "blocks"])
    cases, table = survey(ways, lambda case: None, {}, ROOM, 6)
    runner = _run(tmp_path / "run", {BEST: 0.005}, cases, table)
    (grid,) = build_grids(runner.rows)
    assert len(grid.strategies) == len({case.case_id for case in cases})
    assert "inter_layer 1f1b 2 micro-batches accumulated" in grid.strategies
    assert len({case_name(row) for row in runner.rows}) == len(runner.rows)
    assert grid.ranking is not None and len(grid.ranking.ranked) == len(runner.rows) - 1
    best = next(row for row in runner.rows if row.case_id == BEST)
    assert best.speedup == pytest.approx(2.0, rel=0.02)
    assert best.base_case_id == "pytorch.single.gpt-tiny.cpu1"
    # Too many to stand side by side: a terminal has them below each other, with whole names.
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(*answers(runner.rows, 100, "run"))
    shown = console.export_text()
    assert "…" not in shown and shown.count(" ms") >= len(runner.rows)


def test_launches_that_would_tell_are_not_of_ways_that_were_dropped(tmp_path: Path) -> None:
    """The first round drops one that comes near again: only what stays may be launched more."""
    cases, table = survey(_ways(accumulate=[1], recompute=["none"]), lambda case: None, {}, ROOM, 6)
    near = {case.case_id: 0.01 * (1 + place / 1000) for place, case in enumerate(cases)}
    runner = _run(tmp_path / "run", near, cases, table, leader_repeats=0, precision=0.2)
    (grid,) = build_grids(runner.rows)
    dropped = {row.case_id for row in runner.rows if row.stopped == HALVING}
    assert grid.ranking is not None
    assert dropped & {row.case_id for row, _ in grid.ranking.undecided}
    found = what_would_tell(grid.ranking)
    assert found is None or not dropped & {row.case_id for row in found.rows}


def test_micro_batches_alone_do_not_win_within_the_error(tmp_path: Path) -> None:
    """A way that accumulates is compared with plain data parallelism like any other."""
    cases, table = survey(_ways(accumulate=[1, 2], recompute=["none"]), lambda case: None, {},
                          ROOM, 6)
    seconds = {case.case_id: 0.02 for case in cases} | {BEST: 0.00995,
                                                        "pytorch.data.gpt-tiny.cpu2": 0.01}
    runner = _run(tmp_path / "run", seconds, cases, table, leader_repeats=0)
    assert _chosen(runner.rows) == ["pytorch.data.gpt-tiny.cpu2"]


def test_a_tie_falls_to_plain_data_parallelism(tmp_path: Path) -> None:
    cases, table = survey(_ways(accumulate=[1], recompute=["none"]), lambda case: None, {}, ROOM, 6)
    runner = _run(tmp_path / "run", {"pytorch.single.gpt-tiny.cpu1": 0.02}, cases, table)
    assert _chosen(runner.rows) == ["pytorch.data.gpt-tiny.cpu2"]
    said = told(candidates_of(runner.run), runner.rows)[0]
    fastest = min((row for row in left_in(runner.rows)), key=lambda row: row.step_seconds)
    if not is_plain(fastest):
        assert "within the error of plain data parallelism" in said.claim


def test_a_split_that_is_no_faster_than_one_device_is_not_chosen(tmp_path: Path) -> None:
    cases, table = survey(_ways(accumulate=[1], recompute=["none"]), lambda case: None, {}, ROOM, 6)
    seconds = {case.case_id: 0.05 for case in cases} | {"pytorch.single.gpt-tiny.cpu1": 0.01}
    runner = _run(tmp_path / "run", seconds, cases, table)
    assert _chosen(runner.rows) == ["pytorch.single.gpt-tiny.cpu1"]


def test_the_choice_stands_first_in_page_and_in_the_folder(tmp_path: Path) -> None:
    cases, table = survey(_ways(), _posterior, {}, ROOM, 4)
    best = next(one.case_id for one in table if one.fate == "run" and "inter_layer" in one.way)
    runner = _run(tmp_path / "run", {best: 0.005}, cases, table)
    page = (tmp_path / "run" / "report.html").read_text()
    answer = page.index('id="answer"')
    assert answer < page.index('class="verdict choice"') < page.index('class="more"')
    assert "ways were looked at" in page and 'class="chosen"' in page
    assert f",{'chosen'}" in (tmp_path / "run" / "results.csv").read_text()
    stored = read_run(tmp_path / "run")
    assert _chosen(stored.rows()) == [best] == _chosen(runner.rows)
    said = told(candidates_of(stored.run), stored.rows())[0]
    assert said.claim.startswith("Choose inter_layer") and said.lines[0].chosen
    assert len(said.lines) == len(table)
    assert "plain data parallelism takes" in said.claim


def test_a_resumed_run_goes_on_with_the_same_ways(tmp_path: Path) -> None:
    cases, table = survey(_ways(), _posterior, {}, ROOM, 4)
    runner = _run(tmp_path / "run", {}, cases, table, repeats=1, leader_repeats=0)
    stored = read_run(tmp_path / "run")
    assert candidates_of(stored.run) == table
    config = RunConfig(strategy=["auto"], repeats=3, steps=12, probes=0)
    stored.run.setdefault("resumed", []).append({"reopened": []})
    for result in stored.results:
        result.stopped = ""
    again = Runner(config, [], tmp_path / "run", lambda event: None, Planted({}, 1),
                   calibrate=Still(), earlier=stored)  # type: ignore[arg-type]
    again.execute()
    counts = _launches(again)
    assert max(counts.values()) == 3 and min(counts.values()) == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["candidates"]
    assert runner.rows


def test_one_device_answers_every_number_of_devices() -> None:
    cases = _ways(devices=[2, 4], accumulate=[1], recompute=["none"])
    chosen, table = survey(cases, lambda case: None, {}, ROOM, 6)
    asked = {one.question for one in table}
    assert len(asked) == 2
    assert all(any(one.way == "single" and one.question == name for one in table)
               for name in asked)
    assert len({case.case_id for case in chosen}) == len(chosen)
    rows = [Row(case_id=case.case_id, status="ok", framework=case.framework, engine=case.engine,
                strategy=case.strategy, workload=case.workload, size=case.size, dtype=case.dtype,
                mode=case.mode, device=case.device, devices=case.devices) for case in chosen]
    assert set(questions(rows)) == asked
    assert choose("nothing has finished", rows) is None
