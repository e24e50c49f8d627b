"""How a group's end is told from its ranks' exit codes, their records and the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from suite.launch import processes, waiting
from suite.launch.waiting import Ending, flooded, wait


class Rank:
    """A rank whose exit code at each look is known; the last one stays."""

    def __init__(self, *codes: int | None) -> None:
        self.codes = list(codes)

    def poll(self) -> int | None:
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "SETTLE_SECONDS", 0.05)


def _waited(
    workers: Sequence[Rank], folder: Path, records: Sequence[int] = (), timeout_s: float = 30.0,
    **options: object,
) -> Ending:
    for rank in records:
        (folder / f"rank-{rank}.json").touch()
    given = {"began": time.monotonic(), "expects_records": True, "watch": lambda: None} | options
    return wait(workers, folder, timeout_s, **given)  # type: ignore[arg-type]


def test_all_have_ended_in_order(tmp_path: Path) -> None:
    ended = _waited([Rank(None, 0), Rank(None, None, 0)], tmp_path, [0, 1])
    assert (ended.status, ended.reason) == ("ok", "")
    assert abs(ended.noticed_at_s - time.monotonic()) < 5


def test_one_without_a_record_ends_the_group_unless_none_is_expected(tmp_path: Path) -> None:
    # It is said first, although another one fails for it.
    ended = _waited([Rank(1), Rank(0)], tmp_path, [0])
    assert ended[:2] == ("failed", "rank 1 ended with code 0 and left no record")
    assert _waited([Rank(0)], tmp_path, expects_records=False).status == "ok"
    assert _waited([Rank(None, 0), Rank(0)], tmp_path, [0]).status == "failed"


def test_the_cause_is_known_once_its_victims_have_ended(tmp_path: Path) -> None:
    """The first to end was only lost by the one that a signal ended."""
    ended = _waited([Rank(1), Rank(None, None, None, -9)], tmp_path)
    assert ended[:2] == ("failed", "rank 1 ended with signal SIGKILL")
    # One that goes on is not waited for.
    assert _waited([Rank(1), Rank(None)], tmp_path).reason == "rank 0 ended with code 1"


def test_time_runs_from_the_begin_of_the_launch(tmp_path: Path) -> None:
    ended = _waited([Rank(None)], tmp_path, timeout_s=7.0, began=time.monotonic() - 7.5)
    assert ended[:2] == ("timeout", "not finished after 7 s")
    assert _waited([Rank(None, 0)], tmp_path, [0], 7.0, began=time.monotonic() - 6).status == "ok"


def test_what_the_watch_says_comes_before_everything(tmp_path: Path) -> None:
    said = Ending("oom", "too much", 1.0)
    assert _waited([Rank(1)], tmp_path, watch=lambda: said) is said


def test_a_log_as_long_as_the_limit_is_no_flood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 2 << 20)
    (tmp_path / "worker.log").write_bytes(bytes(2 << 20))
    assert flooded(tmp_path) == ""
    (tmp_path / "worker.log").write_bytes(bytes((2 << 20) + 1))
    assert flooded(tmp_path) == "more than 2 MiB of log"
