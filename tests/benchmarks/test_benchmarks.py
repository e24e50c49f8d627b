"""What the harness itself costs, and one step of each adapter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.analysis.communication import communication
from suite.analysis.parity import Evidence, check
from suite.analysis.rows import CaseResult, build_rows
from suite.analysis.statistics import median_interval, ratio_interval
from suite.analysis.traced import reduce_launch
from suite.contract.case import Case
from suite.contract.manifests import manifest
from suite.contract.records import RankRecord
from suite.contract.registry import engines, traits_of
from suite.contract.workloads import find_workload, initial_weights
from suite.launch.group import ROOT
from suite.launch.inputs import load_data
from suite.machine.software import installed_version
from suite.runfolder import files
from suite.runfolder.samples import SampleStore, StoredLaunch, compact

pytestmark = pytest.mark.alone
COLUMNS = [(framework, engine) for framework, offered in engines().items() for engine in offered]


def _record(rank: int) -> RankRecord:
    events = [
        {"kind": "all_reduce", "payload_bytes": 4096, "start_s": t * 1e-3 + rank * 1e-5,
         "end_s": t * 1e-3 + 5e-4, "device": 0, "key": f"bucket{t}", "role": "member"}
        for t in range(70)
    ]
    return RankRecord.read({
        "rank": rank, "step_seconds": [0.1] * 20, "timed_step_seconds": [0.1] * 5,
        "traced_step_seconds": [0.1] * 3, "silent_step_seconds": [0.1] * 5, "profiles": [],
        "traces": [{"events": events, "busy": [[[0, 0], [0.1, 0.09]]], "missing": ""}] * 5,
        "losses": [1.0] * 10, "peak_memory_bytes": 1, "steady": True, "ledger": {},
        "affinity": [rank], "warmup_seconds": [0.2],
    })


def _results() -> list[CaseResult]:
    common = ("mlp", "wide", "real", "cpu")
    found = []
    for framework, engine in COLUMNS:
        for strategy, devices in (("single", 1), ("data", 2), ("intra_layer", 2)):
            case = Case(framework, engine, strategy, "", *common, devices)
            found.append(CaseResult(case, [[_record(r) for r in range(devices)]] * 3))
    return found


def test_rows_of_a_matrix(benchmark: Any) -> None:
    assert len(benchmark(build_rows, "run", _results())) == 12


def test_saving_a_matrix(benchmark: Any, tmp_path: Path) -> None:
    results = _results()
    rows = build_rows("run", results)

    def save() -> None:
        files.write_rows(tmp_path, rows)

    benchmark(save)


def test_keeping_a_launch(benchmark: Any, tmp_path: Path) -> None:
    result, store = _results()[0], SampleStore(tmp_path)
    raw = list(result.launches[0] or [])
    outcome = {"status": "ok", "reason": "", "parity": None}
    launch = StoredLaunch(
        result.case.case_id, 0, outcome, compact(raw), reduce_launch(result.case, raw)
    )
    files.outcome_path(tmp_path, launch).parent.mkdir(parents=True)
    benchmark(files.keep_launch, tmp_path, store, launch, raw)


def test_communication_of_a_launch(benchmark: Any) -> None:
    assert benchmark(communication, [_record(0), _record(1)])["comm_count"] == 70


def test_interval_of_a_median(benchmark: Any) -> None:
    benchmark(median_interval, [1.0 + x / 100 for x in range(30)])


def test_interval_of_a_ratio(benchmark: Any) -> None:
    benchmark(ratio_interval, [1.0 + x / 100 for x in range(30)], [1.0] * 30)


def test_gate_on_three_million_parameters(benchmark: Any) -> None:
    initial = initial_weights(find_workload("mlp", "wide"), 0)
    moved = {name: array + np.float32(0.1) for name, array in initial.items()}
    evidence = Evidence([1.0] * 10, initial, moved)
    assert benchmark(check, evidence, evidence, initial).status == "ok"


@pytest.fixture(params=[
    COLUMNS[0], *(pytest.param(column, marks=pytest.mark.long) for column in COLUMNS[1:]),
], ids="-".join)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a built single-device case."""
    framework, engine = request.param
    if not installed_version(traits_of(framework).distributions):
        pytest.skip(f"{framework} is not installed")
    case = Case(framework, engine, "single", "", "gpt", "tiny", "real", "cpu", 1)
    features, targets = load_data(case.spec, "real", 0)
    np.savez(tmp_path / "inputs.npz", features=features, targets=targets)
    case.write(tmp_path / "case.json")
    plan = manifest(framework).launch_plan(case, tmp_path, sys.executable)
    # One process finds itself; it needs no rendezvous.
    extra = {k: v for k, v in plan.environment[0].items() if k != "HOROVOD_CONTROLLER"}
    files = [str(tmp_path / name) for name in ("case.json", "inputs.npz")]
    command = [sys.executable, "-m", "tests.benchmarks.step_server", *files]
    process = subprocess.Popen(
        command, env=os.environ | extra, cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def test_one_step(benchmark: Any, server: subprocess.Popen[str]) -> None:
    def step() -> None:
        assert server.stdin and server.stdout
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "done\n"

    benchmark.pedantic(step, rounds=20, warmup_rounds=3)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [("10",), ("--ranks", "10")])
def test_scale_says_what_each_stage_takes(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.scale", *arguments], cwd=ROOT,
                          capture_output=True, text=True, check=True, timeout=240)
    lines = done.stdout.splitlines()
    assert [line[:16].strip() for line in lines] == [
        "plan", "run", "read", "analyse", "render", "compare", "report", "compare command"]
    assert all(" ms, " in line and "KiB" in line for line in lines)
