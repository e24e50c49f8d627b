"""Comparisons of runs: noise is a tie, a planted slowdown is found, and files come and go."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from suite.analysis.comparison import COMPARED, RowComparison, RunComparison, compare_runs
from suite.analysis.statistics import rank_sum_critical, unpaired_ratio_interval
from suite.cli.compare import Outputs, compare, parse_limit, read_rows
from suite.contract.errors import UsageError
from suite.contract.metrics import BY_NAME
from suite.contract.row import Row, Samples
from suite.report.compared import ROWS_AT_MOST, terminal
from tests.command import suite_command
from tests.synthetic import DATA, LEDGER, SINGLE, make_run

RUN_A: dict[str, Any] = {"run_id": "a", "environment": {}}
RUN_B: dict[str, Any] = {"run_id": "b", "environment": {}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a`` and ``same`` differ in noise alone; ``slow`` has one case 10 % slower."""
    out = tmp_path_factory.mktemp("runs")
    make_run(out / "a", {DATA.case_id: 0.006}, seed=1)
    make_run(out / "same", {DATA.case_id: 0.006}, seed=2)
    make_run(out / "slow", {DATA.case_id: 0.0066}, seed=3)
    return out


def _compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return suite_command("compare", *arguments)


def test_noise_alone_is_a_tie(runs: Path) -> None:
    done = _compare(str(runs / "a"), str(runs / "same"), "--fail-on", "step_time:5%",
                    "--fail-on", "throughput:5%")
    assert done.returncode == 0 and "4 tie" in done.stdout, done.stdout + done.stderr


def test_a_planted_slowdown_ends_with_3(runs: Path, tmp_path: Path) -> None:
    pages = [str(tmp_path / name) for name in ("c.md", "c.html")]
    done = _compare(str(runs / "a"), str(runs / "slow"), "--fail-on", "step_time:5%",
                    "--json", "--markdown", pages[0], "--html", pages[1])
    assert done.returncode == 3, done.stdout + done.stderr
    found = json.loads(done.stdout)[0]
    assert found["regressions"] == [{"case_id": DATA.case_id, "metric": "step_time"}]
    by_case = {row["case_id"]: row for row in found["rows"]}
    assert by_case[SINGLE.case_id]["verdict"] == "tie"
    slow = by_case[DATA.case_id]
    assert slow["verdict"] == "slower" and slow["low"] < 1.1 < slow["high"]
    markdown, page = (Path(name).read_text() for name in pages)
    assert f"| {DATA.case_id} | step_time |" in markdown and "Regression" in markdown
    assert "slower" in page and "http" not in page


def test_a_change_within_the_threshold_is_no_failure(runs: Path) -> None:
    done = _compare(str(runs / "a"), str(runs / "slow"), "--fail-on", "step_time:20%")
    assert done.returncode == 0 and "slower" in done.stdout


def test_the_other_way_round_is_faster_and_passes(runs: Path) -> None:
    done = _compare(str(runs / "slow"), str(runs / "a"), "--fail-on", "step_time:5%",
                    "--fail-on", "throughput:5%")
    assert done.returncode == 0 and "2 faster" in done.stdout


def test_several_runs_against_the_first(runs: Path) -> None:
    done = _compare(*(str(runs / name) for name in ("a", "same", "slow")), "--fail-on",
                    "throughput:5%", "--json")
    assert done.returncode == 3
    assert [len(one["regressions"]) for one in json.loads(done.stdout)] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-on", "speed:5%"], "'speed', expected one of step_time"),
        (["--fail-on", "step_time:fast"], "'step_time:fast', expected metric:threshold"),
        (["--fail-on", "step_time"], "expected metric:threshold"),
        (["--metric", "beauty"], "'beauty'"),
    ],
)
def test_bad_usage(runs: Path, arguments: list[str], words: str) -> None:
    done = _compare(str(runs / "a"), str(runs / "same"), *arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_one_run_or_none_is_bad_usage(runs: Path) -> None:
    assert _compare(str(runs / "a")).returncode == 2
    assert _compare(str(runs / "a"), str(runs / "nowhere")).returncode == 2


def test_thresholds() -> None:
    assert parse_limit("step_time:5%") == ("step_time", 0.05)
    assert parse_limit("t_comm:0.1") == ("t_comm", 0.1)
    with pytest.raises(UsageError):
        parse_limit("step_time:-5%")


def _row(case_id: str, seconds: list[float], **more: Any) -> Row:
    samples: Samples = {column: [*seconds] for column in COMPARED.values()}
    row = Row(case_id=case_id, status="ok", ledger=LEDGER, launch_samples=samples,
              step_time_s=seconds[0])
    return replace(row, **more)


NOISE = [1.0, 1.01, 0.99, 1.02, 0.98, 1.005]


def test_rows_of_one_run_are_only_listed() -> None:
    old, new = [_row("x", NOISE), _row("y", NOISE)], [_row("y", NOISE), _row("z", NOISE)]
    found = compare_runs((RUN_A, old), (RUN_B, new), ["step_time"])
    assert (found.only_before, found.only_after) == (["x"], ["z"])
    assert [row.case_id for row in found.rows] == ["y"]


def test_unlike_rows_are_not_compared() -> None:
    other = _row("x", NOISE, ledger=LEDGER | {"tf32": "on"})
    row = compare_runs((RUN_A, [_row("x", NOISE)]), (RUN_B, [other]), ["step_time"]).rows[0]
    assert row.verdict == "not comparable" and row.reason == "tf32 is off against on"
    broken = _row("x", NOISE, status="failed", reason="planted")
    row = compare_runs((RUN_A, [_row("x", NOISE)]), (RUN_B, [broken]), ["step_time"]).rows[0]
    assert row.verdict == "not comparable" and "failed after: planted" in row.reason
    assert math.isnan(row.change) and not row.worse_by(0.0)


def test_natural_differences_and_machines_are_told() -> None:
    other = _row("x", NOISE, ledger=LEDGER | {"torch": "3"})
    runs = (RUN_A | {"environment": {"cores": 2, "versions": {"torch": "2"}}},
            RUN_B | {"environment": {"cores": 4, "versions": {"torch": "3"}}})
    found = compare_runs((runs[0], [_row("x", NOISE)]), (runs[1], [other]), ["step_time"])
    assert found.rows[0].differences == ("torch",)
    assert found.machine == ["cores: 2 -> 4", "torch: 2 -> 3"]


@pytest.mark.parametrize("metric", list(COMPARED))
def test_which_way_is_worse(metric: str) -> None:
    more = [2 * one for one in NOISE]
    row = compare_runs((RUN_A, [_row("x", NOISE)]), (RUN_B, [_row("x", more)]), [metric]).rows[0]
    better = BY_NAME[COMPARED[metric]].better == "higher"
    assert row.verdict in (("faster", "better") if better else ("slower", "worse"))
    assert row.worse_by(0.5) is not better


def test_blocks_of_one_run_are_paired() -> None:
    drifting = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    slower = [1.1 * one for one in drifting]
    rows = ([_row("x", drifting)], [_row("x", slower)])
    one_run, two_runs = (
        compare_runs((RUN_A, rows[0]), (RUN_A, rows[1]), ["step_time"], same_blocks=same).rows[0]
        for same in (True, False)
    )
    assert (one_run.verdict, one_run.pairs) == ("slower", 6)
    assert (two_runs.verdict, two_runs.pairs) == ("tie", 0)


def test_two_files_of_one_name_are_two_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is noise alone in two runs would be a difference if their blocks were paired."""
    paths = []
    for place, factor in (("old", 1.0), ("new", 1.1)):
        values = [factor * one for one in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)]
        content = {"benchmarks": [{"name": "b", "fullname": "t.py::b", "extra_info": {},
                                   "stats": {"data": values}}]}
        paths.append(tmp_path / place / "run.json")
        paths[-1].parent.mkdir()
        paths[-1].write_text(json.dumps(content))
    assert compare(paths, [], ["step_time:5%"], False, Outputs(json=True)) == 0
    (row,) = json.loads(capsys.readouterr().out)[0]["rows"]
    assert (row["verdict"], row["pairs"]) == ("tie", 0)


def test_one_launch_claims_nothing() -> None:
    found = compare_runs((RUN_A, [_row("x", [1.0])]), (RUN_B, [_row("x", [9.0])]), ["step_time"])
    assert found.rows[0].verdict == "" and "no interval" in found.rows[0].reason
    assert not found.rows[0].worse_by(0.05)


@pytest.mark.parametrize(("first", "second"), [(4, 4), (3, 7), (6, 6), (8, 5), (12, 9)])
def test_rank_sum_bound_against_scipy(first: int, second: int) -> None:
    def chance(u: int) -> float:
        """P(U <= u), from samples built to have that U."""
        left, ours = u, []
        for index in range(first):
            above = min(second, left)
            left -= above
            ours.append(above - 0.5 + 1e-6 * index)
        test = stats.mannwhitneyu(ours, np.arange(second), alternative="less", method="exact")
        assert test.statistic == u
        return float(test.pvalue)

    bound = rank_sum_critical(first, second, 0.95)
    assert chance(bound) <= 0.025 < chance(bound + 1)


@pytest.mark.parametrize("launches", [2, 3, 5, 8])
def test_intervals_hold_the_truth_as_often_as_they_say(launches: int) -> None:
    random = np.random.default_rng(launches)
    trials, held = 2000, 0
    for _ in range(trials):
        old = np.exp(random.normal(0, 0.05, launches))
        new = 1.2 * np.exp(random.normal(0, 0.05, launches))
        found = unpaired_ratio_interval(new.tolist(), old.tolist())
        held += found.low <= 1.2 <= found.high
    # Three standard errors of a share of 95 % below it.
    assert held / trials > 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_matrices_of_ties_show_no_difference_in_95_of_100() -> None:
    random = np.random.default_rng(0)
    wrong, trials = 0, 200
    for _ in range(trials):
        old, new = ([_row(str(case), np.exp(random.normal(0, 0.03, 6)).tolist())
                     for case in range(16)] for _ in range(2))
        rows = compare_runs((RUN_A, old), (RUN_B, new), ["step_time"]).rows
        wrong += any(row.verdict != "tie" for row in rows)
    assert wrong / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_pytest_benchmark_reads_the_export(runs: Path, tmp_path: Path) -> None:
    files = []
    for name in ("a", "slow"):
        files.append(str(tmp_path / f"{name}.json"))
        command = ["report", str(runs / name), "--export-pytest-benchmark", files[-1]]
        subprocess.run([sys.executable, "-m", "suite", *command], check=True, capture_output=True)
    tool = Path(sys.executable).with_name("pytest-benchmark")
    if not tool.exists():
        found = shutil.which("pytest-benchmark")
        assert found, "pytest-benchmark is a requirement of the tests"
        tool = Path(found)
    shown = subprocess.run([str(tool), "compare", *files, "--columns=median,rounds"],
                           capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    lines = [line for line in shown.stdout.splitlines() if line.startswith(DATA.case_id)]
    assert len(lines) == 2 and all(" 6 " in f"{line} " for line in lines)
    # Back in, the files stand for their runs.
    assert compare([Path(f) for f in files], [], ["step_time:5%"], False, Outputs()) == 3
    assert compare([runs / "a", Path(files[0])], [], ["step_time:0%"], False, Outputs()) == 0


def test_anybodys_benchmarks_can_be_compared(tmp_path: Path) -> None:
    def saved(name: str, factor: float, data: bool = True) -> Path:
        values = [factor * one for one in NOISE]
        content = {"benchmarks": [{"name": "b", "fullname": "t.py::b", "extra_info": {},
                                   "stats": {"data": values} if data else {"median": 1.0}}]}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    slow = compare([saved("a", 1.0), saved("b", 1.3)], [], ["step_time:5%"], False, Outputs())
    assert slow == 3
    with pytest.raises(UsageError, match="benchmark-save-data"):
        compare([saved("a", 1.0), saved("c", 1.0, data=False)], [], [], False, Outputs())
    (tmp_path / "no.json").write_text("[]")
    with pytest.raises(UsageError):
        compare([saved("a", 1.0), tmp_path / "no.json"], [], [], False, Outputs())


def test_a_terminal_has_those_that_differ_of_thousands() -> None:
    rows = [RowComparison(f"case{at}", "step_time", 1.0, 1.0, verdict="tie") for at in range(3000)]
    rows[2990] = RowComparison("late", "step_time", 1.0, 2.0, verdict="slower")
    table = terminal(RunComparison("a", "b", rows, [], [], []))
    names = list(table.columns[0].cells)
    assert len(names) == ROWS_AT_MOST and names[0] == "case0" and names[-1] == "late"
    assert str(table.caption).startswith(f"{3000 - ROWS_AT_MOST} more rows: --json, ")
    few = terminal(RunComparison("a", "b", rows[:ROWS_AT_MOST], [], [], []))
    assert few.row_count == ROWS_AT_MOST and few.caption is None


def test_a_run_that_is_named_twice_is_read_once(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Any:
        read.append(path)
        return read_rows(path)

    monkeypatch.setattr("suite.cli.compare.read_rows", counted)
    folder = runs / "a"
    assert compare([folder, folder, folder], [], [], False, Outputs(json=True)) == 0
    assert read == [folder]
