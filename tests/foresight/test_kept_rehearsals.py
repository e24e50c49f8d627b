"""What is kept of rehearsals, and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.foresight.kept_rehearsals import (
    KeptRehearsal,
    read_rehearsals,
    rehearsal_of,
    write_rehearsals,
)
from suite.runfolder.reading import read_run

SAMPLE = Path(__file__).resolve().parents[2] / "results/sample"
CASE = Case(framework="pytorch", engine="torch", strategy="data", variant="", workload="gpt",
            size="small", data="synthetic", device="cpu", devices=2, depth=2, cut=())
KEPT = KeptRehearsal(CASE, "2026-01-01T00:00:00+00:00", 0.1, 0.02, 1e-3, 0.01, 2.0, 2e6)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rehearsals.json"
    assert read_rehearsals(path) == []
    write_rehearsals(path, [KEPT])
    assert read_rehearsals(path) == [KEPT]


@pytest.mark.parametrize("text", ["{", '{"schema": 2, "rehearsals": []}', "[]",
                                  '{"schema": 1, "rehearsals": [{"step_s": 1}]}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rehearsals.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="rehearse again"):
        read_rehearsals(path)


def test_a_proven_row_says_what_its_steps_and_calls_took() -> None:
    stored = read_run(SAMPLE)
    rows = {row.case_id: row for row in stored.rows()}
    cases = {result.case.case_id: result.case for result in stored.results}
    name = "pytorch.data.gpt-small.cpu2"
    row, kept = rows[name], rehearsal_of(cases[name], rows[name], "now")
    assert kept.step_s == min(filter(None, row.launch_step_s)) <= row.step_seconds
    transfers = [one for one in row.launch_samples["t_comm_transfer_s"] if one]
    assert kept.transfer_s == min(transfers) < max(transfers)
    assert (kept.calls, kept.call_bytes) == (row.comm_count, row.comm_bytes)
    # One device's gradients travel in a few calls, so together they take what is in flight.
    assert kept.calls * kept.call_s == pytest.approx(kept.transfer_s)
    alone = next(name for name in rows if "pytorch.single" in name)
    assert rehearsal_of(cases[alone], rows[alone], "now").rehearsal.calls is None


def test_a_bucket_that_is_not_full_tells_how_many_more_fit() -> None:
    # DistributedDataParallel's buckets hold 25 MiB, so four million bytes are in two calls.
    calls = KEPT.rehearsal.calls
    assert calls and calls.call_bytes == 25 << 20
    assert calls.first_calls + 4e6 / calls.call_bytes == pytest.approx(2.0)


def test_calls_that_time_ends_grow_with_the_bytes() -> None:
    calls = replace(KEPT, case=replace(CASE, framework="horovod")).rehearsal.calls
    assert calls and (calls.first_calls, calls.call_bytes) == (0.0, 2e6)


def test_a_rehearsal_is_of_one_column_and_one_workload() -> None:
    assert KEPT.of("pytorch", "torch", "eager", "cpu") and KEPT.about("gpt", "small")
    assert not KEPT.of("pytorch", "torch", "compiled", "cpu")
    assert not KEPT.about("gpt", "tiny") and not KEPT.about("bert", "small")
