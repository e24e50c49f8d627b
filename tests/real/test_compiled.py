"""Compiled models in real processes: the same proof as eager ones, communication still seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from tests.depths import case_fields
from tests.real.cells import Find, check_payloads, evidence_of, name, records_of

# Each compiles for long: a transformer in each compiler, of one block since all are alike.
CELLS = [
    ("tensorflow", "tensorflow", "data", "", "gpt/single"),
    ("pytorch", "torch", "intra_layer", "", "gpt/single"),
]
LONG = [
    ("pytorch", "torch", "data", "", "gpt/shallow"),
    ("horovod", "torch", "data", "", "mlp"),
    ("pytorch", "torch", "inter_layer", "1f1b", "mlp"),
    ("horovod", "torch", "intra_layer", "", "mlp"),
]


def _case(*cell: str, workload: str) -> Case:
    return Case(*cell, *case_fields(workload), "real", "cpu", 2, mode="compiled", steps=1,
                probe_steps=1, warmup_limit=PARITY_STEPS)


@pytest.mark.parametrize("case", [
    pytest.param(_case(*cell, workload=workload), marks=[pytest.mark.long] * (number >= len(CELLS)))
    for number, (*cell, workload) in enumerate([*CELLS, *LONG])
], ids=name)
def test_a_compiled_cell_is_at_parity(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    records = records_of(folder)
    assert records[0].traces[0].events
    # What a compiled graph computes is no operation that the profiler could tell from dispatch.
    assert not records[0].profiles[0].operations_s
    if case.strategy == "intra_layer":
        check_payloads(case, records)
