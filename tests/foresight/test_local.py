"""Measured rows as plans, and their figures beside predicted ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from suite.contract.row import Row
from suite.foresight.fitting import Posterior
from suite.foresight.local import GOALS, compared, plan_of_row, predictable
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.foresight.question import strategy_of
from suite.runfolder.reading import read_run

SAMPLE = Path(__file__).resolve().parents[2] / "results/sample"
MACHINE = Machine(
    "planted", product_flops_s=1e11, ramp_s=1e-6, narrow=0.1, stream_bytes_s=2e10, launch_s=3e-6,
    inside=Link(1e-4, 2e9), between=Link(1e-4, 2e9), devices_per_node=2, memory_bytes=0,
    synchronous=True,
)


def _posterior() -> Posterior:
    return Posterior(lambda _: Stack(MACHINE, FLOAT32), np.zeros(1), np.eye(1), 0.1, 0)


@cache
def _rows() -> list[Row]:
    return read_run(SAMPLE).rows()


def _row(part: str) -> Row:
    return next(row for row in _rows() if row.case_id.startswith(part))


@pytest.mark.parametrize(("part", "strategy", "micro"), [
    ("pytorch.single", "single", 8), ("pytorch.data.", "data", 4),
    ("pytorch.intra_layer", "intra_layer", 8), ("pytorch.inter_layer-gpipe", "inter_layer", 2),
])
def test_a_row_becomes_the_plan_that_it_ran(part: str, strategy: str, micro: float) -> None:
    plan = plan_of_row(_row(part))
    assert strategy_of(plan) == strategy and plan.micro_batch == micro
    assert plan.micro_batch * plan.micro_batches * plan.replicas == 8


def test_measured_figures_stand_beside_predicted_ones() -> None:
    row = _row("pytorch.data.")
    found = {f.quantity: f for f in compared(row, _posterior(), "here")}
    assert set(found) == set(GOALS)
    assert found["step time"].published == row.step_seconds
    assert found["T_comm"].published == row.t_comm_transfer_s
    assert found["L"].predicted == pytest.approx(1.0)
    assert found["step time"].low < found["step time"].predicted < found["step time"].high


def test_a_copy_within_a_process_is_no_transfer_over_a_link() -> None:
    row = _row("tensorflow.inter_layer-gpipe")
    assert row.t_comm_transfer_s and not row.t_comm_model_s
    found = {f.quantity for f in compared(row, _posterior(), "here")}
    assert found == set(GOALS) - {"T_comm"}


def test_one_device_communicates_nothing() -> None:
    assert [f.quantity for f in compared(_row("pytorch.single"), _posterior(), "here")] == [
        "step time"]


def test_only_proven_rows_are_compared() -> None:
    assert all(row.parity == "ok" for row in _rows() if predictable(row))
    assert any(predictable(row) for row in _rows())
