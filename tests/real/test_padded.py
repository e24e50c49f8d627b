"""Padded vocabularies in real processes: at parity, and sent as the formulas say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from tests.depths import case_fields
from tests.real.cells import (
    COLUMNS,
    Column,
    Find,
    check_payloads,
    evidence_of,
    name,
    parameter,
    records_of,
)

# The table is at both ends of a pipeline; bert and xlnet pad an output bias too.
CELLS = [("data", "", "gpt/shallow"), ("data", "", "bert/shallow"), ("data", "", "xlnet/shallow"),
         ("intra_layer", "", "gpt/shallow"), ("inter_layer", "gpipe", "bert/shallow")]


def _case(column: Column, strategy: str, variant: str, workload: str) -> Case:
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", 2, steps=1,
                probe_steps=1, warmup_limit=PARITY_STEPS, padded=100)


@pytest.mark.parametrize("case", [
    parameter(_case(column, *cell), column[0] == "pytorch" and cell[2] != "xlnet/shallow")
    for column in COLUMNS for cell in CELLS
], ids=name)
def test_a_padded_model_takes_the_same_steps(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    check_payloads(case, records_of(folder))
