"""Faults that only a real framework can have: a collective in flight, training on NaN."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.config.model import RunConfig
from suite.contract.faults import Fault
from suite.measure.faults import FaultBench, columns
from suite.measure.leaks import own_temporary_files

pytest.importorskip("torch")


def test_a_collective_in_flight_and_training_on_nan(tmp_path: Path) -> None:
    case, reason = columns(["pytorch"], {})["pytorch data"]
    assert not reason
    with own_temporary_files(tmp_path / "tmp"):
        bench = FaultBench(RunConfig(workload=["mlp"]), tmp_path / "run", f"test-{id(tmp_path)}")
        assert bench.prepare(case) == ""
        stuck = bench.plant("pytorch", case, Fault("deadlock", "collective", 0))
        broken = bench.plant("pytorch", case, Fault("nan", "measured", 0))
    for found in (stuck, broken):
        assert not found.problems, found
    assert "rank 0 in clean steps (wait_for_ever, faulty.py:" in stuck.reason
    assert "the loss after 14 steps is nan" in broken.reason and broken.status == "failed"
