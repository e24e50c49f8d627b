"""Accumulated micro-batches make the same step, and talk as often as the formulas say."""

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
    family,
    name,
    parameter,
    records_of,
)

# Where samples see each other each micro-batch is normalised by itself: resnet's reference differs.
CELLS = [("data", "", "mlp"), ("data", "", "resnet"), ("data", "fsdp", "gpt/shallow"),
         ("intra_layer", "", "gpt/shallow"), ("inter_layer", "gpipe", "gpt/shallow")]
OF_TENSORFLOW = [("intra_layer", "", "mlp"), ("inter_layer", "gpipe", "mlp")]
# TensorFlow traces a graph of every micro-batch, minutes of them.
OF_TORCH = [("inter_layer", "interleaved", "gpt"), ("inter_layer", "gpipe", "resnet"),
            ("intra_layer", "", "resnet")]


def _case(column: Column, strategy: str, variant: str, workload: str, devices: int = 2) -> Case:
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", devices, steps=1,
                probe_steps=int(devices > 1), warmup_limit=PARITY_STEPS, accumulate=2)


def _kept(case: Case) -> bool:
    """A transformer of every strategy in PyTorch, and its batch statistics; an MLP in TensorFlow;
    of Horovod, whose stages take their micro-batches from the same schedules, the others."""
    if family(case) == "resnet":
        return case.framework == "pytorch" and case.strategy in ("single", "data")
    if case.framework == "horovod" and case.strategy == "inter_layer":
        return False
    if case.engine == "torch":
        return case.variant != "interleaved"
    return case.workload == "mlp" and (case.framework == "tensorflow" or case.strategy == "data")


@pytest.mark.parametrize("case", [
    parameter(case, _kept(case))
    for column in COLUMNS for case in [
        *(_case(column, *cell)
          for cell in CELLS + (OF_TORCH if column[1] == "torch" else OF_TENSORFLOW)),
        *[_case(column, "single", "", "resnet", devices=1)] * (column in COLUMNS[:2]),
    ]
], ids=name)
def test_two_micro_batches(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    check_payloads(case, records_of(folder))
