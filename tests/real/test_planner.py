"""Uneven shares train the same model, and lower L where a device is slower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suite.analysis.communication import load_balance
from suite.analysis.parity import Evidence, Verdict
from suite.environment import installed
from suite.proofs import load_evidence
from suite.reading import ranks
from suite.spec.case import Case
from tests.conftest import several_launched
from tests.real.conftest import launch_planted

SPEEDS = (1.0, 0.5)
PIPE = ("inter_layer", "gpipe")
CELLS = {
    ("pytorch", "torch"): [("data", ""), ("data", "fsdp"), PIPE],
    ("horovod", "torch"): [("data", ""), PIPE],
    ("horovod", "tensorflow"): [("data", ""), PIPE],
    ("tensorflow", "tensorflow"): [("data", ""), PIPE],
}
NEEDED = {"pytorch": ["torch"], "tensorflow": ["tensorflow-cpu", "tensorflow"],
          "horovod": ["horovod"]}


@pytest.mark.parametrize("column", list(CELLS), ids="-".join)
def test_uneven_shares_are_at_parity(
    column: tuple[str, str], hold: Callable[[Case, Evidence], Verdict], tmp_path: Path
) -> None:
    if not installed(NEEDED[column[0]]):
        pytest.skip(f"{column[0]} is not installed")
    # mlp wide: the slow stage of a pipeline gets a layer less.
    cases = [
        Case(*column, *cell, "mlp", "wide" if cell == PIPE else "tiny", "real", "cpu", 2,
             steps=1, warmup_limit=10, probe_steps=1, device_speeds=SPEEDS)
        for cell in CELLS[column]
    ]
    folders = several_launched(cases, tmp_path, 200.0)
    for case in cases:
        folder = folders[case.case_id]
        verdict = hold(case, load_evidence(folder, ranks(folder)[0]["losses"]))
        assert verdict.status == "ok", (case.case_id, verdict)


@pytest.mark.parametrize("cell", [("data", ""), PIPE], ids="-".join)
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
