"""The row and the table of metrics are one declaration, and names that do not exist are refused."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from suite.contract.formats import FORMATS
from suite.contract.metrics import BY_NAME, COLUMNS, FROM_RANKS, METRICS
from suite.contract.row import NAMES, Row
from suite.contract.warnings import warn
from suite.runfolder.files import write_rows

# What rides along for the page, comparisons and JSON, and is no column.
BESIDE = {"launch_step_s", "launch_samples", "step_quantiles_s", "step_sample_s",
          "device_compute_s", "clocked_step_s", "frontier", "share_course"}
NUMBERS = (int, float, int | None, float | None)


def test_every_column_is_a_field_and_every_other_field_is_known() -> None:
    assert set(NAMES) == {*COLUMNS, *BESIDE} and len(NAMES) == len(COLUMNS) + len(BESIDE)
    assert tuple(name for name in NAMES if name not in BESIDE) == COLUMNS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_column_holds_what_its_format_can_write(metric: object) -> None:
    kind = get_type_hints(Row)[metric.name]  # type: ignore[attr-defined]
    assert metric.kind in FORMATS  # type: ignore[attr-defined]
    if metric.kind != "text":  # type: ignore[attr-defined]
        assert kind in NUMBERS[2:]
        default = next(one.default for one in fields(Row) if one.name == metric.name)  # type: ignore[attr-defined]
        assert default is None


def test_figures_of_the_ranks_are_the_ones_that_say_so() -> None:
    assert {metric.name: metric.from_ranks for metric in FROM_RANKS} == {
        "peak_memory_bytes": "largest", "device_memory_bytes": "largest",
        "matmul_flops_s": "median", "clock_uncertainty_s": "largest",
        "share_changes": "median", "load_balance_shares": "median", "cut_moves_s": "median",
    }


def test_a_name_that_no_row_has_is_refused() -> None:
    row = Row(case_id="x")
    for call in (lambda: row.value("step_tme_s"), lambda: row.put({"step_tme_s": 1.0}),
                 lambda: row.value("as_dict")):
        with pytest.raises(KeyError, match="a row has no"):
            call()
    with pytest.raises(AttributeError):
        row.step_tme_s = 1.0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="x has no step time"):
        _ = row.step_seconds


def test_a_row_as_a_line_of_the_table(tmp_path: Path) -> None:
    row = Row(case_id="x", step_time_s=0.5, peak_memory_bytes=7, ledger={"tf32": "on"},
              warnings=[warn("oversubscribed", what="core")], step_time_ci_low_s=float("nan"))
    write_rows(tmp_path, [row, Row(case_id="y")])
    with (tmp_path / "results.csv").open() as stream:
        first, second = csv.DictReader(stream)
    assert tuple(first) == COLUMNS and first["step_time_ci_low_s"] == ""
    assert (first["step_time_s"], first["peak_memory_bytes"]) == ("0.5", "7")
    assert first["ledger"] == '{"tf32": "on"}' and first["warnings"].startswith("oversubscribed: ")
    assert second["step_time_s"] == second["ledger"] == second["peak_memory_bytes"] == ""
    assert BY_NAME["step_time_s"].show(row.step_time_s) == "500 ms"
