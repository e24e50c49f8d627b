"""Compiled models in real processes: the same proof as eager ones, communication still seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from tests.depths import case_fields
from tests.real.cells import Find, evidence_of, name, records_of

# Each compiles for long.
CELLS = [
    ("pytorch", "torch", "data", "", "gpt/shallow"),
    ("tensorflow", "tensorflow", "data", "", "gpt/shallow"),
    ("horovod", "torch", "data", "", "mlp"),
    ("pytorch", "torch", "inter_layer", "1f1b", "mlp"),
]


@pytest.mark.parametrize("case", [
    pytest.param(
        Case(*cell, *case_fields(workload), "real", "cpu", 2, mode="compiled", steps=1,
             probe_steps=1, warmup_limit=PARITY_STEPS),
        marks=[pytest.mark.long] * bool(number > 1))
    for number, (*cell, workload) in enumerate(CELLS)
], ids=name)
def test_a_compiled_cell_is_at_parity(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    assert records_of(folder)[0].traces[0].events
