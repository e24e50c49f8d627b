"""The database keeps every field of a record, whichever it is."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from suite.analysis.traced import ProbedLaunch
from suite.contract.records import RECORD_FIELDS, RankRecord, StepTrace
from suite.runfolder.samples import PASSES, SampleStore, StoredLaunch, compact

# What is kept in another form: samples in a table, traces as one that says what is missing.
ELSEWHERE = {*PASSES.values(), "traces", "profiles", "warmup_seconds"}


def _record(rank: int) -> RankRecord:
    """No field has the value that it would have if it were left out."""
    return RankRecord(
        rank, step_seconds=[0.1, 0.2], timed_step_seconds=[0.3], traces=[StepTrace(missing="T_i")],
        traced_step_seconds=[0.4], profiles=[StepTrace(missing="T_i")], silent_step_seconds=[0.5],
        warmup_seconds=[0.6, 0.7], losses=[1.0, 0.5], open_seconds=0.8, peak_memory_bytes=9,
        device_memory_bytes=10, matmul_flops_s=11.0, steady=True, affinity=[12],
        ledger={"tf32": "on"}, figures={"energy_j": 13.0}, phases={"import": 14.0},
        shares=[[15, 16]], share_busy_seconds=[[1.7, 1.8]], host="b",
        transports=["0 to 1 via SHM"], received_bytes={"eth0": 19},
    )


def test_the_record_of_this_test_is_whole() -> None:
    made, empty = _record(1), RankRecord(0)
    assert all(getattr(made, one.name) != getattr(empty, one.name) for one in fields(RankRecord))


def test_every_field_comes_back(tmp_path: Path) -> None:
    raw = [_record(rank) for rank in (1, 2)]
    reduced = ProbedLaunch({"t_comm_s": 1.0, "of_another_release": 2.0}, np.ones((1, 2)))
    store = SampleStore(tmp_path)
    store.append(StoredLaunch("case", 0, {"status": "ok"}, compact(raw), reduced), raw)
    store.close()
    (found,) = SampleStore(tmp_path, read_only=True).launches()
    for before, after in zip(raw, found.records, strict=True):
        for name in set(RECORD_FIELDS) - ELSEWHERE:
            assert getattr(after, name) == getattr(before, name), name
        assert list(after.step_seconds) == list(before.step_seconds)
        assert after.warmup_seconds == before.warmup_seconds[:1]
        assert [trace.missing for trace in after.traces] == ["T_i"]
    assert found.reduced is not None and found.reduced.columns == {"t_comm_s": 1.0}


def test_more_than_ten_ranks_stay_in_order(tmp_path: Path) -> None:
    raw = [replace(_record(rank), affinity=[rank]) for rank in range(12)]
    store = SampleStore(tmp_path)
    store.append(StoredLaunch("case", 0, {"status": "ok"}, compact(raw), None), raw)
    (found,) = store.launches()
    store.close()
    assert [record.rank for record in found.records] == list(range(12))
    assert {row[2]: None for row in SampleStore(tmp_path).steps()}.keys() == set(range(12))
