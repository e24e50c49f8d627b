"""The ranks of a launch come in the order of their numbers, on every path that reads them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from suite.analysis.doubts import Conditions, find_warnings
from suite.analysis.traced import reduce_launch, traced_columns
from suite.contract.case import Case
from suite.contract.records import (
    CommEvent,
    RankRecord,
    StepTrace,
    read_launch,
    read_records,
)
from suite.contract.row import Row

ROOT = Path(__file__).resolve().parents[2]
TWELVE = Case("fake", "numpy", "data", "", "mlp", "tiny", "synthetic", "cpu", 12)


def _write(folder: Path) -> None:
    """Twelve ranks, each on the core of its number; rank 2 computes longest."""
    for rank in range(12):
        busy = 0.09 if rank == 2 else 0.05
        record = RankRecord(
            rank, step_seconds=[0.1], timed_step_seconds=[0.1], affinity=[rank], steady=True,
            traces=[StepTrace(busy=[[(0.0, 0.0), (0.1, busy)]])],
        )
        (folder / f"rank-{rank}.json").write_text(json.dumps(asdict(record)))


def test_rank_2_comes_before_rank_10(tmp_path: Path) -> None:
    _write(tmp_path)
    assert [record["rank"] for record in read_launch(tmp_path)] == list(range(12))


def test_twelve_pinned_ranks_are_pinned_and_the_slowest_is_named(tmp_path: Path) -> None:
    _write(tmp_path)
    records = read_records(read_launch(tmp_path))
    row = Row(repeats=1, launch_step_s=[0.1], step_time_s=0.1)
    found = find_warnings(TWELVE, [records], [list(range(12))], row, Conditions(), False)
    assert "not_pinned" not in {warning.code for warning in found}
    reduced = reduce_launch(TWELVE, records)
    assert reduced is not None
    assert traced_columns(TWELVE, [reduced])["slowest_device"] == "device 2"


def test_nothing_else_looks_for_the_ranks_files() -> None:
    own = ROOT / "suite" / "contract" / "records.py"
    files = [path for folder in ("suite", "adapters", "tests") for path in
             (ROOT / folder).rglob("*.py") if path not in (own, Path(__file__).resolve())]
    sorting = [str(path) for path in files if 'sorted(folder.glob("rank-' in path.read_text()]
    assert sorting == [] and 'glob("rank-*.json")' in own.read_text()


def test_a_record_is_read_as_it_was_written() -> None:
    trace = StepTrace([CommEvent("all_reduce", 8, 0.1, 0.2, key="a")], [[(0.0, 0.0)]], "why", 0.3)
    record = RankRecord(3, step_seconds=[0.1], traces=[trace], figures={"x": 1.0})
    written = json.loads(json.dumps(asdict(record)))
    found = RankRecord.read(written | {"of_another_release": 1})
    assert asdict(found) == json.loads(json.dumps(asdict(found))) == written
    assert found.traces[0].events[0] == trace.events[0]


def test_a_figure_that_was_not_measured_is_none() -> None:
    record = RankRecord(0, peak_memory_bytes=5, figures={"energy_j": 2.5, "share_changes": 0.0})
    assert record.figure("peak_memory_bytes") == 5 and record.figure("energy_j") == 2.5
    assert record.figure("matmul_flops_s") is None and record.figure("speed") is None
    # That nothing changed is a figure too.
    assert record.figure("share_changes") == 0.0
