"""Faults of the command itself, with the fake adapter: real processes, real signals."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.measure.harness_faults import HarnessBench
from suite.measure.leaks import own_temporary_files


@pytest.fixture
def bench(tmp_path: Path) -> HarnessBench:
    return HarnessBench("fake", tmp_path / "harness", f"test-{tmp_path.name}-{id(tmp_path)}",
                        "tests.fake_harness", ["--data", "synthetic"])


# The others are like one of these, and `python -m suite selftest --faults --all` has them all.
@pytest.mark.parametrize(
    "kind", ["interrupt-twice", "killed", "full-disk", "read-only", "same-folder", "clock-back"]
)
def test_a_fault_of_the_command_costs_no_result(
    bench: HarnessBench, kind: str, tmp_path: Path
) -> None:
    with own_temporary_files(tmp_path / "tmp"):
        found = bench.plant(kind)
    if isinstance(found, str):
        pytest.skip(found)
    assert not found.problems and found.survivors == found.lost == 0 and found.next_clean
