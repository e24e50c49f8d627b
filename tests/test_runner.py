"""Scheduling, proof and saving, with a launcher that starts nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import environment
from suite.config import RunConfig
from suite.launch import Outcome
from suite.runner import Progress, Runner, exit_code
from suite.spec.case import Case
from suite.spec.metrics import COLUMNS


class FakeLauncher:
    """Answers in no time; ``plant`` changes a case's outcome or losses by its id."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.plant: dict[str, Any] = {}

    def __call__(
        self, case: Case, case_path: Path, inputs: Path, folder: Path, *_rest: Any
    ) -> Outcome:
        self.started.append((folder.name, case.case_id))
        folder.mkdir(parents=True, exist_ok=True)
        planted = self.plant.get(case.case_id)
        if isinstance(planted, BaseException):
            raise planted
        if planted == "crash":
            return Outcome("failed", "planted", 0.1, [])
        scale = planted if isinstance(planted, float) and case.dtype == "float32" else 1.0
        ones = {name: np.ones(shape) for name, shape in case.spec.shapes().items()}
        arrays = {f"gradient/{n}": a for n, a in ones.items()}
        np.savez(folder / "parity.npz", **arrays, **{f"parameter/{n}": a for n, a in ones.items()})
        return Outcome("ok", "", 0.1, [_record(rank, scale) for rank in range(case.devices)])


def _record(rank: int, scale: float) -> dict[str, Any]:
    return {
        "rank": rank, "step_seconds": [0.01, 0.012], "timed_step_seconds": [0.011],
        "traces": [{"events": [], "compute_s": [0.01], "missing": ""}], "warmup_seconds": [],
        "losses": [1.0, 0.5 * scale], "open_seconds": 0.1, "peak_memory_bytes": 5,
        "steady": True, "affinity": [0], "ledger": {},
    }


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


def _cases() -> list[Case]:
    common = ("mlp", "tiny", "synthetic", "cpu")
    return [
        Case("pytorch", "torch", "single", "", *common, 1),
        Case("pytorch", "torch", "data", "", *common, 2),
        Case("tensorflow", "tensorflow", "single", "", *common, 1),
    ]


def _runner(tmp_path: Path, launcher: FakeLauncher, **options: Any) -> Runner:
    (tmp_path / "cases").mkdir()
    config = RunConfig(repeats=3, **options)
    shown: list[Progress] = []
    return Runner(config, _cases(), tmp_path, shown.append, launcher)


def _saved(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_each_block_holds_each_case_once(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    names = [case.case_id for case in _cases()]
    assert launcher.started[0] == ("float64", names[0])
    for block in range(3):
        assert sorted(i for f, i in launcher.started if f == f"launch-{block}") == sorted(names)
    rows = runner.finish("complete")
    assert [row["status"] for row in rows] == ["ok"] * 3 and exit_code(rows) == 0
    assert [row["parity"] for row in rows] == ["ok"] * 3
    assert rows[1]["speedup"] == pytest.approx(1.0) and rows[1]["repeats"] == 3


def test_files_are_the_contract(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    runner.finish("complete")
    saved = _saved(tmp_path)
    assert list(saved[0]) == list(COLUMNS) and len(saved) == 3
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "complete"
    ended = tmp_path / "cases" / saved[1]["case_id"] / "launch-2" / "outcome.json"
    assert json.loads(ended.read_text())["parity"]["status"] == "ok"
    for name in ("steps.csv", "losses.csv", "report.html"):
        assert (tmp_path / name).stat().st_size > 100


def test_a_failed_case_stops_alone(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[1].case_id] = "crash"
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"] and exit_code(rows) == 1
    assert sum(name == _cases()[1].case_id for _, name in launcher.started) == 1


def test_other_losses_are_refused_not_ranked(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[2].case_id] = 1.01
    runner = _runner(tmp_path, launcher)
    runner.execute()
    row = runner.finish("complete")[2]
    assert (row["status"], row["parity"]) == ("refused", "failed")
    assert row.get("step_time_s") is None and "losses by" in row["reason"]
    assert exit_code([row]) == 4
    # Drift was measured before refusing.
    assert any(folder == "float32" for folder, _ in launcher.started)


def test_what_had_finished_survives_an_interruption(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    runner = _runner(tmp_path, launcher)
    original = runner._launch
    count = iter(range(10))

    def interrupted(result: Any, block: int) -> None:
        if next(count) == 4:
            raise KeyboardInterrupt
        original(result, block)

    runner._launch = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.execute()
    assert [row["status"] for row in _saved(tmp_path)] == ["ok"] * 3
    assert sum(int(row["repeats"]) for row in _saved(tmp_path)) == 4


def test_no_reference_refuses(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[0].case_id] = "crash"
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row["status"] for row in rows] == ["failed", "refused", "refused"]
    assert "reference" in rows[1]["reason"]


def test_oversubscribed_gets_no_speedup(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.cores = [0]
    runner.execute()
    row = runner.finish("complete")[1]
    assert row.get("speedup") is None and "oversubscribed" in row["warnings"]


def test_a_missing_framework_is_unsupported_and_the_rest_runs(
    tmp_path: Path, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = environment.installed
    monkeypatch.setattr(
        environment, "installed",
        lambda names: "" if "tensorflow" in names else original(names),
    )
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row["status"] for row in rows] == ["ok", "ok", "unsupported"]
    assert "not installed" in rows[2]["reason"] and exit_code(rows) == 0


def test_a_horovod_of_other_versions_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    if not environment.installed(["horovod"]):
        pytest.skip("horovod is not installed")
    from adapters import horovod

    case = Case("horovod", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    assert horovod.installation_problem(case) == ""
    monkeypatch.setattr(horovod, "_version", lambda names: "9.9")
    assert "and 9.9 is installed" in horovod.installation_problem(case)


def test_a_host_without_a_name_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters import horovod

    case = Case("horovod", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    assert horovod.unsupported_reason(case) == ""
    monkeypatch.setattr(horovod.socket, "gethostname", lambda: "no-such-name.invalid")
    assert "/etc/hosts" in horovod.unsupported_reason(case)
