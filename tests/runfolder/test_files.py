"""Run folders: their names, and the instants in them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from suite.contract.errors import UsageError
from suite.runfolder.files import create_run_folder, utc_now
from suite.runfolder.validated import read_json
from tests.synthetic import make_run


def test_three_runs_of_one_second_have_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_run_folder(tmp_path, "20260101-100000"), range(8)))
    names = sorted(folder.name for folder in made)
    assert names == ["20260101-100000", *(f"20260101-100000-{n}" for n in range(2, 9))]
    assert all((folder / "cases").is_dir() for folder in made)


def test_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a writable folder"):
        create_run_folder(tmp_path / "file", "run")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
def test_times_are_instants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        make_run(tmp_path / "run", repeats=1)
        written = read_json(tmp_path / "run" / "run.json", "RUN")["started"]
        assert written.endswith("+00:00") and utc_now().endswith("+00:00")
        late = datetime.fromisoformat(utc_now()) - datetime.fromisoformat(written)
        assert timedelta(0) <= late < timedelta(minutes=2)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
