"""Run folders: their names, and the instants in them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.records import RankRecord
from suite.runfolder.files import create_run_folder, utc_now, write_balance
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


def test_shares_are_a_table_of_their_own(tmp_path: Path) -> None:
    case = Case("fake", "numpy", "data", "", "mlp", "tiny", "real", "cpu", 2, balance="dynamic")
    record = RankRecord(0, shares=[[32, 32], [43, 21]], share_busy_seconds=[[0.1, 0.2]])
    balanced = CaseResult(case, [[record, RankRecord(1)], None])
    static = CaseResult(replace(case, balance="static"), [[RankRecord(0)]])
    write_balance(tmp_path, [static])
    assert not (tmp_path / "balance.csv").exists()
    write_balance(tmp_path, [static, balanced])
    assert (tmp_path / "balance.csv").read_text().splitlines() == [
        "case_id,launch,step,device,samples,busy_s,units",
        *(f"{case.case_id},0,{rest}"
          for rest in ("0,0,32,0.1,", "0,1,32,0.2,", "1,0,43,,", "1,1,21,,")),
    ]
