"""Rows from records: which fields of a case they copy, and how figures of ranks are reduced."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from suite.analysis.launch_figures import reduce_ranks
from suite.analysis.rows import CASE_COLUMNS, CaseResult, build_rows
from suite.contract.case import Case
from suite.contract.columns import FromRanks, Metric
from suite.contract.metrics import COLUMNS
from suite.contract.records import FrontierProbe, RankRecord
from suite.runfolder.reading import read_run
from tests.synthetic import make_run

CASE = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)


def _record(rank: int, **figures: float) -> RankRecord:
    return RankRecord(rank, step_seconds=[0.1, 0.1], warmup_seconds=[0.2], figures=figures,
                      peak_memory_bytes=100 * (rank + 1), affinity=[rank])


def _result(case: Case = CASE, **more: object) -> CaseResult:
    result = CaseResult(case, [[_record(0), _record(1)]], cores=[[0, 1]])
    return replace(result, **more)  # type: ignore[arg-type]


def test_the_limit_is_that_of_the_probes_and_not_the_launchs() -> None:
    (row,) = build_rows("run", [_result()])
    assert row.memory_limit_bytes is None and row.peak_memory_bytes == 200
    probe = FrontierProbe(CASE.case_id, 64, "ok", limit_bytes=5000)
    (row,) = build_rows("run", [_result(replace(CASE, memory_limit_bytes=2500), probes=[probe])])
    assert row.memory_limit_bytes == 5000


def test_the_limit_of_a_run_that_has_none_is_empty(tmp_path: Path) -> None:
    rows = [*make_run(tmp_path / "run"), *read_run(tmp_path / "run").rows()]
    assert {row.memory_limit_bytes for row in rows} == {None}


def test_a_row_says_how_many_steps_were_timed(tmp_path: Path) -> None:
    """Of the launches that timed any; a stored run tells it too."""
    make_run(tmp_path / "run", probes=3)
    assert {row.timed_steps for row in read_run(tmp_path / "run").rows()} == {5.0}
    assert COLUMNS[-1] == "timed_steps"


def test_a_case_gives_a_row_only_what_both_mean_alike() -> None:
    both = {one.name for one in fields(Case)} & set(COLUMNS)
    # The batch of a case may be 0 for the workload's own, and a row's speeds are in words;
    # a static balance is none of a row, nor the scaling of a single device; its cut is in words.
    assert both - set(CASE_COLUMNS) == {
        "memory_limit_bytes", "global_batch", "device_speeds", "balance", "scaling", "cut",
    }


@pytest.mark.parametrize(("how", "expected"), [("largest", 9.0), ("median", 3.0), ("sum", 7.0)])
def test_figures_of_ranks_are_reduced_as_their_column_says(
    how: FromRanks, expected: float
) -> None:
    metric = Metric("energy_j", "J", "energy", "lower", "ratio", "Energy.", how)
    launches = [[_record(0, energy_j=1.0), _record(1, energy_j=3.0)],
                [_record(0, energy_j=9.0), _record(1)],
                [_record(0, energy_j=2.0), _record(1, energy_j=5.0)]]
    assert reduce_ranks(metric, launches) == expected
    assert reduce_ranks(metric, [[_record(0)]]) is None
