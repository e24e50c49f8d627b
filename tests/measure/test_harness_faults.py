"""Faults of the command itself, with the fake adapter: real processes, real signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from suite.measure import harness_faults
from suite.measure.harness_faults import HarnessBench, Ran
from suite.measure.leaks import own_temporary_files


@pytest.fixture
def bench(tmp_path: Path) -> HarnessBench:
    return HarnessBench("fake", tmp_path / "harness", f"test-{tmp_path.name}-{id(tmp_path)}",
                        "tests.fake_harness", ["--data", "synthetic"])


@pytest.mark.parametrize("kind", HarnessBench.FAULTS)
def test_a_fault_of_the_command_costs_no_result(
    bench: HarnessBench, kind: str, tmp_path: Path
) -> None:
    with own_temporary_files(tmp_path / "tmp"):
        found = bench.plant(kind)
    if isinstance(found, str):
        pytest.skip(found)
    print(found)
    assert not found.problems and found.survivors == found.lost == 0 and found.next_clean
