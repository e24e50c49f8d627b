"""The memory frontier: the search, the guard, and runs whose memory is planted."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from suite.analysis.memory_frontier import FrontierProbe, frontier_columns
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.values import parse_bytes
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.resident_memory import peak_resident_bytes
from suite.launch.group import TRAIN, LaunchRequest, Outcome, launch
from suite.machine import memory
from suite.machine.memory import Guard, available_bytes, margin_bytes, resident_bytes
from suite.measure.ending import exit_code
from suite.measure.memory_frontier import (
    Search,
    batch_unit,
    cell_guard,
    find_frontiers,
    judge_probe,
)
from suite.measure.resume import reopen
from suite.measure.runner import Runner
from suite.report.html import render
from suite.report.memory_frontier import frontier_table
from suite.runfolder.reading import read_run
from tests.conftest import Launch
from tests.measure.test_runner import FakeCalibration, FakeLauncher

BASE, SAMPLE = 10_000, 100


def _found(start: int, unit: int, resolution: float, most: int) -> tuple[int, int, int]:
    """(fits, fails, probes) of a search where ``most`` samples fit."""
    search, tried = Search(start, unit, resolution), []
    while batch := search.next():
        assert batch % unit == 0 and batch not in tried
        tried.append(batch)
        search.record(batch, batch <= most)
    return search.fits, search.fails, len(tried)


@pytest.mark.parametrize("most", [0, 1, 7, 8, 63, 64, 65, 1000, 12_345])
@pytest.mark.parametrize(("start", "unit"), [(64, 1), (64, 8), (12, 4), (8, 8)])
def test_to_the_unit_the_frontier_is_exact(most: int, start: int, unit: int) -> None:
    fits, fails, _ = _found(start, unit, 1e-9, most)
    assert fits == most // unit * unit and fails == fits + unit


def test_a_coarse_resolution_asks_less() -> None:
    fits, fails, probes = _found(64, 2, 0.05, 12_345)
    assert fits <= 12_345 < fails and fails - fits <= 0.05 * fits
    assert probes < _found(64, 2, 1e-9, 12_345)[2]


def test_a_search_that_nothing_ends_ends() -> None:
    fits, fails, _ = _found(64, 1, 0.05, 1 << 40)
    assert fits == 1 << 24 and fails == 0


@pytest.mark.parametrize(
    ("strategy", "variant", "devices", "unit"),
    [("single", "", 1, 1), ("data", "", 2, 2), ("intra_layer", "", 2, 1),
     ("inter_layer", "gpipe", 2, 4), ("inter_layer", "naive", 2, 1)],
)
def test_units_are_what_the_split_divides(
    strategy: str, variant: str, devices: int, unit: int
) -> None:
    case = Case("fake", "numpy", strategy, variant, "mlp", "tiny", "synthetic", "cpu", devices)
    assert batch_unit(case) == unit


class Planted(FakeLauncher):
    """Probes hold ``BASE`` and ``SAMPLE`` a sample of their share; ``plant`` works as ever."""

    def __call__(self, request: LaunchRequest) -> Outcome:
        case = request.case
        if request.worker == TRAIN:
            return super().__call__(request)
        assert request.worker == "suite.ranks.batch_probe" and request.guard
        batch = case.spec.global_batch
        self.started.append((str(batch), case.case_id))
        planted = self.plant.get(f"{case.strategy}.{batch}")
        if isinstance(planted, BaseException):
            raise planted
        if planted:
            return Outcome("failed", planted, 0.1, [])
        peak = BASE + SAMPLE * batch // (case.devices if case.strategy == "data" else 1)
        record = {"rank": 0, "step_seconds": [0.5 * batch] * 3, "peak_memory_bytes": peak}
        return Outcome("ok", "", 0.1, [record] * case.devices)


def _cases() -> list[Case]:
    common = ("mlp", "tiny", "synthetic", "cpu")
    return [Case("pytorch", "torch", "single", "", *common, 1),
            Case("pytorch", "torch", "data", "", *common, 2)]


def _run(folder: Path, launcher: Planted, **options: Any) -> Runner:
    (folder / "cases").mkdir(exist_ok=True)
    config = RunConfig(**({"repeats": 1, "find_max_batch": True, "batch_resolution": 1e-9,
                           "memory_limit": 300_050} | options))
    runner = Runner(config, _cases(), folder, lambda _: None, launcher,
                    calibrate=FakeCalibration(), clock=lambda: launcher.now)  # type: ignore[arg-type]
    runner.starter.cores = [0, 1]
    runner.execute()
    find_frontiers(runner)
    return runner


def test_the_frontier_of_planted_memory_is_exact(tmp_path: Path) -> None:
    rows = _run(tmp_path, Planted()).finish("complete")
    single, data = rows
    assert (single.max_batch, single.failed_batch) == (2900, 2901)
    assert (data.max_batch, data.failed_batch) == (5800, 5802)
    assert single.max_batch_memory_bytes == 300_000 and data.memory_limit_bytes == 300_050
    assert single.max_batch_throughput_samples_s == 2.0
    assert single.failed_batch_reason.startswith("oom: a process held")
    assert exit_code(rows) == 0 and single.global_batch == 64
    with (tmp_path / "results.csv").open() as stream:
        assert [row["max_batch"] for row in csv.DictReader(stream)] == ["2900", "5800"]


def test_what_is_on_disk_is_read_again(tmp_path: Path) -> None:
    runner = _run(tmp_path, Planted())
    rows = runner.finish("complete")
    stored = read_run(tmp_path)
    assert [r.probes for r in stored.results] == [r.probes for r in runner.results]
    assert [row.max_batch for row in stored.rows()] == [2900, 5800]
    console = Console(width=200, record=True, file=StringIO())
    for part in frontier_table(stored.rows()):
        console.print(part)
    assert "5800" in console.export_text()
    page = render(stored.run, rows, [])
    assert 'id="frontier"' in page and "Memory: the largest batch that fits" in page
    assert 'id="frontier"' not in render(stored.run, [replace(r, frontier=[]) for r in rows], [])


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    launcher = Planted()
    launcher.plant["data.2048"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, launcher)
    read = read_run(tmp_path)
    assert [len(r.probes) > 0 for r in read.results] == [True, True]
    config, earlier = reopen(tmp_path, {})
    again = Planted()
    runner = Runner(config, [], tmp_path, lambda _: None, again, earlier=earlier,
                    calibrate=FakeCalibration(), clock=lambda: 0.0)  # type: ignore[arg-type]
    runner.starter.cores = [0, 1]
    runner.execute()
    find_frontiers(runner)
    rows = runner.finish("complete")
    assert [row.max_batch for row in rows] == [2900, 5800]
    # Only what was missing: of the second cell, from where it stood.
    assert again.started[0][0] == "2048" and {name for _, name in again.started} != set()
    assert not {batch for batch, _ in again.started} & {"64", "128", "256"}


def test_refused_cells_have_no_frontier(tmp_path: Path) -> None:
    launcher = Planted()
    launcher.plant["pytorch.data.mlp-tiny.cpu2"] = 2.0
    rows = _run(tmp_path, launcher).finish("complete")
    assert rows[1].status == "refused" and rows[1].max_batch is None
    assert rows[0].max_batch == 2900 and exit_code(rows) == 4


def test_a_probe_that_breaks_is_no_finding(tmp_path: Path) -> None:
    launcher = Planted()
    launcher.plant["single.128"] = "planted: a shape was wrong"
    rows = _run(tmp_path, launcher).finish("complete")
    assert exit_code(rows) == 1 and rows[0].failed_batch_reason.startswith("failed: planted")
    _, earlier = reopen(tmp_path, {})
    assert "failed" not in {probe.status for result in earlier.results for probe in result.probes}


def test_a_kill_by_the_kernel_is_out_of_memory() -> None:
    outcome = Outcome("failed", "rank 1 ended with signal SIGKILL", 0.1, [])
    assert judge_probe("a", 8, outcome, 0).status == "oom"


def test_columns_of_nothing_that_fits() -> None:
    found = frontier_columns([FrontierProbe("a", 4, "oom", "too much"),
                              FrontierProbe("a", 2, "timeout", "too long")])
    assert "max_batch" not in found and found["failed_batch"] == 2
    assert found["failed_batch_reason"] == "timeout: too long" and frontier_columns([]) == {}


def test_real_processes_of_the_fake_adapter(
    fake: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MEMORY", f"{BASE}:{SAMPLE}")
    (tmp_path / "cases").mkdir()
    # Planted figures may lie far below what a process holds: the guard is told of none.
    monkeypatch.setattr(memory, "resident_bytes", lambda pid: 0)
    config = RunConfig(find_max_batch=True, memory_limit=26_050, batch_resolution=1e-9)
    runner = Runner(config, [fake], tmp_path, lambda _: None, launch)
    runner.results[0].launches = [[{"done": True}]]
    monkeypatch.setattr(runner, "save", lambda: [])
    find_frontiers(runner)
    found = frontier_columns(runner.results[0].probes)
    assert (found["max_batch"], found["failed_batch"]) == (320, 322)
    assert found["max_batch_memory_bytes"] == 26_000


def test_the_guard_ends_a_group(fake: Case, start: Launch, tmp_path: Path) -> None:
    from suite.machine.devices import allowed_cores
    from tests.conftest import written

    path, inputs = written(fake, tmp_path / "launch")
    request = LaunchRequest(
        fake, path, inputs, tmp_path / "launch", allowed_cores()[:2], 60.0
    )
    outcome = launch(replace(request, guard=Guard(1 << 20, 2, 0)))
    assert outcome.status == "oom" and "its limit is 1.05 MB" in outcome.reason
    outcome = launch(replace(request, guard=Guard(0, 2, 1 << 60)))
    assert outcome.status == "oom" and "kept free" in outcome.reason
    assert launch(replace(request, guard=Guard(1 << 40, 2, 0))).status == "ok"


def test_limits_of_a_process() -> None:
    case = _cases()[1]
    assert cell_guard(case, 1000, 10**9).process_limit(2) == 1000
    assert cell_guard(case, 1000, 10**9).process_limit(1) == 2000
    assert cell_guard(case, None, 10**9).process_limit(2) == 5 * 10**8
    assert cell_guard(Case(**vars(case) | {"device": "cuda"}), 1000, 0).limit_bytes == 0
    assert available_bytes() > 0 and margin_bytes() >= 512 << 20
    assert resident_bytes(os.getpid()) > 1 << 20 and resident_bytes(1 << 30) == 0


@pytest.mark.parametrize(("version", "files"), [
    ("0::/job/a", ("memory.max", "memory.current", "inactive_file", "")),
    ("4:memory:/job/a", ("memory.limit_in_bytes", "memory.usage_in_bytes",
                         "total_inactive_file", "memory")),
])
def test_a_container_has_less_room(tmp_path: Path, version: str, files: tuple[str, ...]) -> None:
    group = tmp_path / files[3] / "job"
    (group / "a").mkdir(parents=True)
    (group / files[0]).write_text("1000\n")
    (group / files[1]).write_text("600\n")
    (group / "memory.stat").write_text(f"cache 5\n{files[2]} 150\n")
    (group / "a" / files[0]).write_text("max\n")
    own = tmp_path / "cgroup"
    own.write_text(f"9:cpu:/job/a\n{version}\n")
    assert list(memory._rooms(own, tmp_path)) == [550]


@pytest.mark.parametrize(("own", "limit", "used", "stat", "rooms"), [
    ("0::/", "1000", "600", "", [400]), ("garbage\n0::/", "1000", "600", "", [400]),
    ("0::/", "much", "600", "", []), ("0::/", "1000", "", "", []), ("0::/", "-1", "600", "", []),
    ("0::/", "1000", "600", "inactive_file\n", [400]), ("0::/", "1000", "1600", "", [0]),
    ("\0", "1000", "600", "", []), ("", "1000", "600", "", []),
])
def test_memory_limits_of_any_form(
    tmp_path: Path, own: str, limit: str, used: str, stat: str, rooms: list[int]
) -> None:
    for name, text in (("cgroup", own), ("memory.max", limit), ("memory.current", used),
                       ("memory.stat", stat)):
        (tmp_path / name).write_text(text)
    assert list(memory._rooms(tmp_path / "cgroup", tmp_path)) == rooms
    assert list(memory._rooms(tmp_path / "nothing", tmp_path)) == []


def test_a_peak_is_of_this_program_alone() -> None:
    """``ru_maxrss`` of a child would be that of the fat parent."""
    code = "from suite.contract.resident_memory import peak_resident_bytes as peak; print(peak())"
    fat = bytearray(b"x") * (300 << 20)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(done.stdout) < 200 << 20 < len(fat) <= peak_resident_bytes()


def test_options() -> None:
    assert (parse_bytes("2GiB"), parse_bytes("1.5KiB"), parse_bytes("7")) == (2 << 30, 1536, 7)
    config = resolve("quick", None, {"find_max_batch": True, "memory_limit": "2GiB",
                                     "batch_resolution": "10%"})
    assert config.memory_limit == 2 << 30 and config.batch_resolution == 0.1
    with pytest.raises(UsageError, match="--find-max-batch"):
        resolve("quick", None, {"memory_limit": "2GiB"})
    with pytest.raises(UsageError, match="KiB"):
        resolve("quick", None, {"find_max_batch": True, "memory_limit": "much"})


def test_a_batch_of_ones_own() -> None:
    config = RunConfig(framework=["pytorch"], workload=["mlp"], size="tiny", batch=96)
    cases = build_matrix(config, 0)
    assert {case.spec.global_batch for case in cases} == {96}
    assert {case.reference_id for case in cases} == {"mlp-tiny-batch96"}
    assert all("mlp-tiny-batch96" in case.case_id for case in cases)
    own = build_matrix(replace(config, batch=64), 0)
    assert own[0].case_id == "pytorch.single.mlp-tiny.cpu1"
    with pytest.raises(UsageError, match=r"divisor of the global batch 97.*--batch"):
        build_matrix(replace(config, batch=97), 0)
