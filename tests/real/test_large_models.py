"""A model that is too large for a float64 reference is proven by its first layers, for real."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.command import suite_command


@pytest.mark.timeout(280)
def test_a_run_proves_what_no_float64_reference_can_hold(tmp_path: Path) -> None:
    # Of gpt tiny two blocks fit in float64, and not all four.
    done = suite_command(
        "run", "--framework", "pytorch", "--strategy", "data", "--workload", "gpt", "--size",
        "tiny", "--proof-memory", "8MiB", "--repeats", "1", "--steps", "3", "--warmup", "20",
        "--probes", "0", "--no-link", "--out", str(tmp_path), "--quiet",
    )
    (table,) = tmp_path.glob("*/results.csv")
    (row,) = csv.DictReader(table.open())
    assert (done.returncode, row["status"], row["parity"]) == (0, "ok", "ok"), row["reason"]
    assert row["proof"] == (
        "float64 of 2 of 4 units; losses of all 4 against float32 on one device")
    assert 0 < float(row["parity_error"]) <= 1
    losses = list(csv.DictReader((table.parent / "losses.csv").open()))
    assert len(losses) == 10 and all(float(row["reference_loss"]) for row in losses)
    again = suite_command("report", str(table.parent), "--json")
    assert "float64 of 2 of 4 units" in again.stdout
