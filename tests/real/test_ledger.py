"""Every framework records the terms of comparison under the same names, and keeps them equal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.ledger import MUST_EQUAL, build_ledger, obstacle
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import RankRecord
from tests.real.cells import COLUMNS, Find, name, records_of

TERMS = {"dtype": "float32", "mode": "eager", "tf32": "off", "determinism": "off",
         "threads_per_device": "1"}


@pytest.mark.parametrize("case", [
    Case(*column, "single", "", "mlp", "tiny", "real", "cpu", 1, steps=1, probe_steps=0,
         warmup_limit=PARITY_STEPS)
    for column in COLUMNS
], ids=name)
def test_a_single_device_is_comparable_with_any_other(case: Case, ran: Find) -> None:
    ledger = build_ledger(case, [records_of(ran(case))])
    other = replace(case, framework="another", engine="numpy")
    elsewhere = RankRecord(0, affinity=[0], ledger=TERMS)
    assert obstacle(ledger, build_ledger(other, [[elsewhere]])) == ""
    assert set(MUST_EQUAL) <= set(ledger)
