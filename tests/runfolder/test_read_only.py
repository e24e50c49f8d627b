"""Reading commands change nothing, and work on folders that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.cli.report import report
from suite.contract.errors import UsageError
from suite.runfolder import files
from suite.runfolder.samples import FILE, SampleStore, open_read_only
from tests.synthetic import DATA, make_run

# Characters that mean something in the address of a database.
NAME = "run #1 of 50%? yes"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder of one run in which nobody may write."""
    make_run(tmp_path / "runs" / NAME, {DATA.case_id: 0.006})
    (tmp_path / "runs" / NAME / "report.html").unlink()
    folders = [path for path in (tmp_path / "runs").rglob("*") if path.is_dir()]
    for folder in (tmp_path / "runs", *folders):
        folder.chmod(0o555)
    for file in (path for path in (tmp_path / "runs").rglob("*") if path.is_file()):
        file.chmod(0o444)
    yield tmp_path / "runs"
    for folder in (tmp_path / "runs", *folders):
        folder.chmod(0o755)


def _state(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Every path with its time of change and its bytes."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for path in [folder, *folder.rglob("*")]}


def _suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command by a user whom file modes bind: root is only without the right to ignore them."""
    command = [sys.executable, "-m", "suite", *arguments]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere, and setpriv is missing")
        command[:0] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_report_of_a_closed_folder_prints_and_says_that_nothing_was_written(closed: Path) -> None:
    before = _state(closed)
    done = _suite("report", str(closed / NAME))
    assert done.returncode == 0 and "pytorch" in done.stdout, done.stderr
    assert "cannot be written" in done.stderr and "in progress" not in done.stderr
    assert "Traceback" not in done.stderr and _state(closed) == before


@pytest.mark.parametrize("command", [["compare", NAME, NAME], ["history", ""]], ids=lambda c: c[0])
def test_comparing_closed_folders(closed: Path, command: list[str]) -> None:
    before = _state(closed)
    done = _suite(command[0], *(str(closed / name) for name in command[1:]))
    assert done.returncode == 0 and DATA.case_id in done.stdout, done.stderr
    assert _state(closed) == before


def test_comparing_writes_nothing_where_it_could(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from suite.cli.compare import Outputs, compare
    from suite.cli.history import history

    folder = tmp_path / NAME
    make_run(folder)
    before = _state(tmp_path)
    compare([folder, folder], [], [], False, Outputs(json=True))
    history(tmp_path, True, None)
    assert _state(tmp_path) == before


def test_a_database_is_opened_at_the_very_path(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    SampleStore(tmp_path / NAME).close()
    assert SampleStore.readable(tmp_path / NAME)
    with pytest.raises(Exception, match="readonly"):
        open_read_only(tmp_path / NAME / FILE).execute("DELETE FROM launch")
    assert [path.name for path in tmp_path.rglob("*")] == [NAME, FILE]


def test_only_the_lock_means_that_a_run_is_in_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run")
    with files.locked(tmp_path / "run"):
        assert report(tmp_path / "run", False, None, "quiet") == 0
    assert "a run is in progress here: nothing was written" in capsys.readouterr().err

    def refuse(*_: object) -> None:
        raise UsageError("a table", "x", "another", "mend it")

    monkeypatch.setattr(files, "write_report", refuse)
    with pytest.raises(UsageError, match="a table"):
        report(tmp_path / "run", False, None, "quiet")
