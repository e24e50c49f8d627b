"""Storage that fails within a run: the case fails with a reason, the run ends in order."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from suite.cli import run as cli
from suite.config.model import RunConfig
from suite.launch.group import LaunchRequest, Outcome
from suite.machine.memory import kernel_kills
from suite.measure.runner import Runner
from suite.runfolder import files
from suite.runfolder.reading import read_run
from suite.runfolder.samples import SampleStore
from tests.synthetic import CASES, DATA, SINGLE, Planted, Still, start_run

FULL = OSError(errno.ENOSPC, "No space left on device", "steps.csv")


@pytest.mark.parametrize("error", [
    sqlite3.OperationalError("database or disk is full"), FULL, ValueError("planted"),
])
def test_a_launch_that_cannot_be_kept_is_its_cases_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    kept = SampleStore.append

    def append(self: SampleStore, launch: Any, *rest: Any) -> None:
        if (launch.case_id, launch.block) == (DATA.case_id, 1):
            raise error
        kept(self, launch, *rest)

    monkeypatch.setattr(SampleStore, "append", append)
    run = start_run(tmp_path / "run", Planted({}, 0))
    run.execute()
    rows = {row.case_id: row for row in run.finish("complete")}
    assert rows[SINGLE.case_id].status == "ok" and rows[SINGLE.case_id].repeats == 6
    assert rows[DATA.case_id].status == "failed"
    words = "No space left on device: steps.csv" if error is FULL else str(error)
    assert rows[DATA.case_id].reason.startswith("around launch 1: ")
    assert words in rows[DATA.case_id].reason
    again = {row.case_id: (row.status, row.reason) for row in read_run(tmp_path / "run").rows()}
    assert again == {name: (row.status, row.reason) for name, row in rows.items()}


@pytest.mark.parametrize("planted", [MemoryError("planted"), FULL])
def test_inputs_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise planted

    run = start_run(tmp_path / "run", Planted({}, 0))
    monkeypatch.setattr("suite.launch.starter.load_data", refuse)
    outcome = run.starter.start(SINGLE, tmp_path / "one")
    expected = "oom" if isinstance(planted, MemoryError) else "failed"
    assert outcome.status == expected and outcome.reason


@pytest.mark.parametrize(("counted", "status"), [([3, 4], "oom"), ([3, 3], "failed")])
def test_a_kill_by_the_kernel_is_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int], status: str
) -> None:
    ended = Outcome("failed", "rank 1 in warm-up ended with signal SIGKILL", 0.1, [])
    run = start_run(tmp_path / "run", Planted({}, 0))
    run.starter.launcher = lambda request: ended
    monkeypatch.setattr("suite.machine.memory.kernel_kills", lambda: counted.pop(0))
    outcome = run.starter.start(SINGLE, tmp_path / "one")
    assert outcome.status == status and ("no memory left" in outcome.reason) == (status == "oom")


def test_the_kernels_counter(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 7\n")
    assert kernel_kills(tmp_path / "vmstat") == 7 and kernel_kills(tmp_path / "none") == 0
    (tmp_path / "vmstat").write_text("oom_kill many\n")
    assert kernel_kills(tmp_path / "vmstat") == 0


def test_a_reference_that_cannot_be_read_fails_what_it_was_to_prove(
    tmp_path: Path
) -> None:
    class Truncating(Planted):
        def __call__(self, request: LaunchRequest) -> Outcome:
            outcome = super().__call__(request)
            if request.case.dtype == "float64":
                path = request.folder / "parity.npz"
                path.write_bytes(path.read_bytes()[:100])
            return outcome

    run = start_run(tmp_path / "run", Truncating({}, 0))
    run.execute()
    rows = run.finish("complete")
    assert {row.status for row in rows} == {"failed"}
    assert all(row.reason.startswith("its reference: BadZipFile") for row in rows)


def test_where_nothing_can_be_written_any_more_the_run_ends_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, full = tmp_path / "a run", []
    (folder / "cases").mkdir(parents=True)
    launcher, write = Planted({}, 0), files.write_atomically

    def fill(count: int) -> None:
        full.extend([True] * (count == 4))

    def refuse(path: Path, text: str) -> None:
        if full:
            raise FULL
        write(path, text)

    launcher.before = fill
    monkeypatch.setattr(files, "write_atomically", refuse)
    config = RunConfig(repeats=6, steps=12, link=False, framework=["pytorch"])
    with pytest.raises(OSError, match="No space left"):  # which the command ends with: code 1
        cli._execute(folder, "table", [], lambda show: Runner(
            config, CASES, folder, show, launcher, calibrate=Still()), False)  # type: ignore[arg-type]
    shown = capsys.readouterr()
    assert "pytorch" in shown.out and str(folder / "report.html") in shown.out.replace("\n", "")
    assert f"--resume '{folder}'" in shown.err and "not everything is in" in shown.err
    full.clear()
    assert json.loads((folder / "run.json").read_text())["state"] == "running"
    assert len(read_run(folder).rows()) == 2


def test_a_file_that_could_not_be_written_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        files.write_atomically(tmp_path / "folder", "text")  # it cannot replace a folder
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
