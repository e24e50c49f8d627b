"""Trends over runs: planted steps are found, noise is not, unlike runs are kept apart."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.analysis.trend import change_points
from suite.cli.history import _began, build_series, history
from suite.contract.errors import UsageError
from suite.contract.row import Row
from tests.synthetic import DATA, LEDGER, SINGLE, make_run

MACHINE = {"processor": "chip", "cores": 2, "gpus": 0, "memory_bytes": 1}


def test_a_planted_step_is_found_where_it_is() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(1.0, 0.01, 7), random.normal(1.1, 0.01, 6)])
    assert change_points(values.tolist()) == [7]


def test_two_steps_and_back() -> None:
    random = np.random.default_rng(1)
    parts = [random.normal(level, 0.01, 10) for level in (1.0, 1.2, 1.0)]
    assert change_points(np.concatenate(parts).tolist()) == [10, 20]


def test_seven_runs_are_too_few() -> None:
    assert change_points([1.0] * 4 + [9.0] * 3) == []


def test_noise_has_a_change_as_seldom_as_said() -> None:
    random = np.random.default_rng(2)
    trials = 200
    found = sum(bool(change_points(random.normal(0, 1, 12).tolist())) for _ in range(trials))
    assert found / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def _run(number: int, seconds: float, **more: Any) -> tuple[str, dict[str, Any], list[Any]]:
    samples = [seconds * (1 + 0.001 * k) for k in (-2, -1, 0, 1, 2, 3)]
    row = Row(run_id=f"r{number}", case_id="x", status="ok", repeats=6, ledger=LEDGER,
              launch_samples={"step_time_s": [*samples]}, step_time_s=seconds,
              step_time_ci_low_s=seconds * 0.99, step_time_ci_high_s=seconds * 1.01)
    run = {"run_id": f"r{number}", "environment": MACHINE | {"versions": {"torch": "2"}}}
    row.put(more.pop("row", {}))
    run["environment"] = run["environment"] | more.pop("environment", {})  # type: ignore[operator]
    return f"2026-01-{number + 1:02d}T00:00:00", run, [row]


def test_each_run_is_held_against_the_one_before() -> None:
    series = build_series([_run(0, 1.0), _run(1, 1.0), _run(2, 1.2), _run(3, 1.2)])
    assert [p.verdict for p in series[0].points] == ["", "tie", "slower", "tie"]
    assert series[0].points[2].change == pytest.approx(1.2)


def test_machines_and_ledgers_part_series_and_versions_do_not() -> None:
    runs = [
        _run(0, 1.0), _run(1, 1.0, environment={"processor": "other"}),
        _run(2, 1.0, row={"ledger": LEDGER | {"tf32": "on"}}),
        _run(3, 1.2, environment={"versions": {"torch": "3"}}),
    ]
    series = build_series(runs)
    assert sorted(len(one.points) for one in series) == [1, 1, 2]
    last = next(one for one in series if len(one.points) == 2).points[-1]
    assert last.verdict == "slower" and last.versions == ("torch 2 -> 3",)


def test_failed_rows_are_no_points() -> None:
    runs = [_run(0, 1.0), _run(1, 1.0, row={"status": "failed"}), _run(2, 1.0)]
    assert [p.run_id for p in build_series(runs)[0].points] == ["r0", "r2"]


def test_the_command_on_real_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        make_run(tmp_path / f"run{number}", {DATA.case_id: 0.006 * (1 + (number == 2))}, number)
    (tmp_path / "no-run").mkdir()
    page = tmp_path / "trend.html"
    assert history(tmp_path, True, page) == 0
    found = {one["case_id"]: one["points"] for one in json.loads(capsys.readouterr().out)}
    assert [p["verdict"] for p in found[DATA.case_id]] == ["", "tie", "slower"]
    assert found[SINGLE.case_id][0]["change"] is None
    assert "run2" in page.read_text() and "http" not in page.read_text()
    assert history(tmp_path, False, None) == 0
    assert "slower +" in capsys.readouterr().out


@pytest.mark.parametrize(("run", "began"), [
    ({"started": "2026-01-01T10:00:00+00:00"}, "2026-01-01T10:00:00+00:00"),
    ({"started": "2026-01-01T10:00:00+0200"}, "2026-01-01T08:00:00+00:00"),  # as it was written
    ({"started": "2026-01-01T01:00:00-0800"}, "2026-01-01T09:00:00+00:00"),
])
def test_runs_of_several_time_zones_have_one_order(
    tmp_path: Path, run: dict[str, Any], began: str
) -> None:
    assert _began(run, tmp_path) == began


def test_a_run_that_says_when_it_began_in_its_name_alone(tmp_path: Path) -> None:
    named = datetime(2026, 1, 1, 10, 0, 0).astimezone(timezone.utc).isoformat()
    for name in ("20260101-100000", "20260101-100000-2"):
        assert _began({"run_id": name}, tmp_path) == named
    assert _began({"run_id": "sample"}, tmp_path).endswith("+00:00")


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder with runs"):
        history(tmp_path, False, None)
