"""Uneven shares train the same model, and lower L where a device is slower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suite.analysis.compute import load_balance
from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from tests.real.cells import COLUMNS, Column, Find, evidence_of, name, parameter
from tests.real.conftest import launch_planted

SPEEDS = (1.0, 0.5)
PIPE = ("inter_layer", "gpipe")
CELLS = [("data", ""), ("data", "fsdp"), PIPE]


def _case(column: Column, strategy: str, variant: str) -> Case:
    # mlp wide: the slow stage of a pipeline gets a layer less.
    size = "wide" if strategy == "inter_layer" else "tiny"
    return Case(*column, strategy, variant, "mlp", size, "real", "cpu", 2, steps=1,
                warmup_limit=PARITY_STEPS, probe_steps=1, device_speeds=SPEEDS)


def _cut(column: Column) -> Case:
    # gpt has a table that both ends hold; the cut leaves the last stage one block of four.
    return Case(*column, "inter_layer", "1f1b", "gpt", "tiny", "real", "cpu", 2, steps=1,
                warmup_limit=PARITY_STEPS, probe_steps=1, cut=(3, 1))


@pytest.mark.parametrize("case", [
    *(parameter(_case(column, *cell), cell == CELLS[0] or column[0] == "pytorch")
      for column in COLUMNS for cell in CELLS),
    *(parameter(_cut(column), column[0] == "pytorch") for column in COLUMNS),
], ids=name)
def test_uneven_shares_are_at_parity(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    verdict = hold(case, evidence_of(ran(case)))
    assert verdict.status == "ok", verdict.reason


@pytest.mark.alone
@pytest.mark.parametrize("cell", [
    ("data", ""), pytest.param(PIPE, marks=pytest.mark.long)], ids="-".join)
def test_a_plan_balances_a_device_that_works_twice(
    cell: tuple[str, str], truth: Callable[..., None], tmp_path: Path
) -> None:
    # Of a larger batch the update, which no share makes shorter, is a smaller part.
    even = Case("planted", "torch", *cell, "mlp", "wide", "real", "cpu", 2, steps=1,
                warmup_limit=20, global_batch=0 if cell == PIPE else 512)
    planned = replace(even, device_speeds=SPEEDS)
    before, after = (
        load_balance(launch_planted(case, "work:1", tmp_path / f"{number}"))["load_balance"]
        for number, case in enumerate((even, planned))
    )
    what = f"pytorch {cell[0]}, a device at half speed"
    truth(f"{what}: L of the even plan", "4/3 or more", before, 1.25, 1.7)
    truth(f"{what}: L of a plan by speed", "1", after, 1.0, 1.12)
