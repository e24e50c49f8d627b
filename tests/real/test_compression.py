"""Gradients in 16 bits in real processes: within their bounds, counted, and mistakes caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.analysis.parity import Verdict
from suite.analysis.rounding import check_compression
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.splits.strategies import COMPRESSIONS
from suite.contract.workloads import initial_weights
from tests.conftest import Launch, References
from tests.real.cells import (
    COLUMNS,
    Find,
    check_payloads,
    evidence_of,
    name,
    parameter,
    records_of,
)

COMPRESSING = [column for column in COLUMNS if column[0] != "tensorflow"]
# (workload, accumulate)
MODELS = [("mlp", 1), ("gpt", 1), ("resnet", 2)]


def _case(column: tuple[str, str], variant: str, workload: str, accumulate: int = 1) -> Case:
    return Case(*column, "data", variant, workload, "tiny", "real", "cpu", 2, steps=1,
                probe_steps=int(workload != "gpt"), warmup_limit=PARITY_STEPS,
                accumulate=accumulate)


def _verdict(case: Case, folder: Path, reference: References) -> Verdict:
    initial = initial_weights(case.spec, case.seed)
    return check_compression(evidence_of(folder), reference(case), initial, case.compression, 2)


@pytest.mark.parametrize("case", [
    parameter(_case(column, variant, *model),
              model == MODELS[0] or model == MODELS[2] and column[0] == "pytorch")
    for column in COMPRESSING for variant in COMPRESSIONS for model in MODELS
], ids=name)
def test_gradients_in_16_bits(case: Case, ran: Find, reference: References) -> None:
    folder = ran(case)
    verdict = _verdict(case, folder, reference)
    assert verdict.status == "ok", verdict
    records = records_of(folder)
    assert records[0].ledger["gradient_communication"].endswith("float16")
    if case.probe_steps:
        check_payloads(case, records)


@pytest.mark.parametrize(("fault", "caught"), [
    ("none", ""), ("undivided_compression", "gradient"), ("scaled_compression", "scale"),
    ("forgotten_compression", "no fp16 rounding"),
])
def test_fault(
    fault: str, caught: str, start: Launch, reference: References,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    case = _case(("faulty", "torch"), "fp16", "mlp")
    outcome, folder = start(case)
    assert outcome.status == "ok", outcome.reason
    verdict = _verdict(case, folder, reference)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason
