"""Run folders of every version, whole and damaged, give the rows they held."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.cli.report import report
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.runfolder.reading import read_run
from suite.runfolder.samples import FILE
from tests.synthetic import DATA, SINGLE, Planted, make_run, start_run

RUNS = Path(__file__).parents[1] / "runs"
SAME_IN_V1 = (
    "case_id", "status", "repeats", "step_time_s", "time_s", "throughput_samples_s", "t_comm_s",
    "comm_bytes", "comm_count", "load_balance", "compute_max_s", "compute_avg_s",
    "peak_memory_bytes", "flops_per_s", "noise_cv", "parity", "parity_error",
)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUNS / "v1", tmp_path / "v1"))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def test_version_1_gives_the_figures_of_its_own_table() -> None:
    before = _table(RUNS / "v1" / "results.csv")
    rows = read_run(RUNS / "v1").rows()
    assert len(rows) == len(before) == 4
    for row, old in zip(rows, before, strict=True):
        for name in SAME_IN_V1:
            found, was = row.value(name), old[name]
            if isinstance(found, float):
                assert found == pytest.approx(float(was)), name
            else:
                assert _text(found) == was, name


def test_version_1_makes_nothing_up() -> None:
    rows = {row.case_id: row for row in read_run(RUNS / "v1").rows()}
    # When compute ran was not recorded, nor when a sender was ready.
    assert not any(row.t_comm_exposed_s or row.bubble for row in rows.values())
    pipeline = rows["pytorch.inter_layer-gpipe.mlp-tiny.cpu2"]
    assert pipeline.t_comm_wait_s is None and pipeline.t_comm_s > 0
    data = rows["pytorch.data.mlp-tiny.cpu2"]
    assert data.t_comm_wait_s == pytest.approx(2.805699978125631e-05)
    assert data.ledger["threads_per_device"] == "1" and data.ledger["tf32"] == "off"
    # What cores were asked for was not recorded either, so none is called wrong.
    assert "not_pinned" not in {warning.code for warning in data.warnings}


def test_version_1_cut_off_and_with_files_missing(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    launch = folder / "cases" / "pytorch.data.mlp-tiny.cpu2" / "launch-2"
    (launch / "rank-1.json").unlink()
    for name in ("results.csv", "losses.csv"):
        (folder / name).unlink()
    shutil.rmtree(folder / "cases" / "tensorflow.data.mlp-tiny.cpu2" / "launch-0")
    rows = {row.case_id: row for row in read_run(folder).rows()}
    assert rows["pytorch.data.mlp-tiny.cpu2"].repeats == 2
    assert rows["tensorflow.data.mlp-tiny.cpu2"].repeats == 2
    assert {row.parity for row in rows.values()} == {"skipped"}
    assert report(folder, False, None) == 0 and (folder / "report.html").exists()


def test_a_report_prints_what_a_run_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _copy(tmp_path)
    report(folder, False, None, "json")
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["rows"]) == 4 and printed["page"] == f"{folder}/report.html"
    report(folder, False, None, "quiet")
    assert capsys.readouterr().out.splitlines() == [*printed["verdicts"], printed["page"]]


def test_a_bare_run_json_is_enough(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "run.json").write_text('{"schema_version": 1}')
    assert report(folder, False, None) == 0
    assert "unknown processor" in (folder / "report.html").read_text()


def test_version_1_without_references_keeps_its_losses(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    assert read_run(folder).losses == read_run(RUNS / "v1").losses != []
    whole = sorted(map(str, read_run(folder).losses))
    shutil.rmtree(folder / "cases" / "reference.mlp-tiny")
    assert sorted(map(str, read_run(folder).losses)) == whole


def test_report_leaves_the_raw_records_alone(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    kept = {p: p.read_bytes() for p in folder.rglob("*.json")}
    assert report(folder, False, None) == 0
    assert {p: p.read_bytes() for p in folder.rglob("*.json")} == kept
    assert len(_table(folder / "results.csv")) == 4 and not (folder / FILE).exists()
    assert len(_table(folder / "losses.csv")) == 40


def _comparable(rows: list[Row]) -> str:
    return json.dumps([row.as_dict() for row in rows], default=str)


def test_storage_and_records_give_the_rows_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    rows = make_run(folder, {DATA.case_id: 0.006})
    assert rows[1].t_comm_s and rows[1].launch_samples["t_comm_s"][:3] == [
        pytest.approx(1e-3), pytest.approx(1e-3), None
    ]
    assert _comparable(read_run(folder).rows()) == _comparable(rows)
    assert _comparable(read_run(folder, from_records=True).rows()) == _comparable(rows)
    losses = read_run(folder).losses
    assert len(losses) == 4 and losses[0]["reference_loss"] == 1.0
    (folder / FILE).unlink()
    assert _comparable(read_run(folder).rows()) == _comparable(rows)


def test_report_makes_every_table_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder)
    names = ("results.csv", "losses.csv", "steps.csv")
    before = {name: (folder / name).read_text() for name in names}
    steps = _table(folder / "steps.csv")
    assert {row["pass"] for row in steps} == {"clean", "timed", "silent"}
    assert len(steps) == 3 * 6 * 12 + 3 * 2 * 2 * 5
    for name in (*names, "report.html"):
        (folder / name).unlink()
    assert report(folder, False, None) == 0
    after = {name: (folder / name).read_text() for name in names}
    assert after["results.csv"] == before["results.csv"]
    assert sorted(after["steps.csv"].splitlines()) == sorted(before["steps.csv"].splitlines())
    assert (folder / "report.html").exists()


def test_a_killed_run_is_read_up_to_its_last_launch(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    launcher = Planted({}, 0)

    def stop(count: int) -> None:
        if count == 4:
            raise KeyboardInterrupt

    launcher.before = stop
    runner = start_run(folder, launcher)
    with pytest.raises(KeyboardInterrupt):
        runner.execute()  # no finish: as after SIGKILL
    rows = {row.case_id: row for row in read_run(folder).rows()}
    assert sum(row.repeats for row in rows.values()) == 3


def test_failures_and_unsupported_cases_keep_their_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    launcher = Planted({}, 0)
    launcher.failing = {DATA.case_id}
    runner = start_run(folder, launcher)
    runner.results[0].status, runner.results[0].reason = "unsupported", "by design"
    runner.execute()
    runner.finish("complete")
    found = {row.case_id: (row.status, row.reason) for row in read_run(folder).rows()}
    assert found == {SINGLE.case_id: ("unsupported", "by design"),
                     DATA.case_id: ("failed", "planted")}


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, "two", None])
def test_a_version_not_known_here(tmp_path: Path, version: Any) -> None:
    folder = _copy(tmp_path)
    run = json.loads((folder / "run.json").read_text()) | {"schema_version": version}
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match="schema version 1 to"):
        read_run(folder)


def _report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite", "report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_and_its_errors(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    done = _report(str(folder))
    assert done.returncode == 0 and "pytorch" in done.stdout, done.stderr
    (folder / "run.json").write_text('{"schema_version": 99}')
    newer = _report(str(folder))
    assert newer.returncode == 2 and "got 99, expected schema version 1 to" in newer.stderr
    nothing = _report(str(tmp_path / "nowhere"))
    assert nothing.returncode == 2 and "run.json" in nothing.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert _report(str(broken)).returncode == 2
    assert "Traceback" not in newer.stderr + nothing.stderr
