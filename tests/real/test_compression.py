"""Gradients in 16 bits in real processes: within their bounds, counted, and mistakes caught."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.analysis.parity import Verdict
from suite.analysis.precision import check_compression
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.strategies import COMPRESSIONS
from suite.spec.workloads import initial_weights
from tests.conftest import Launch, References, several_launched
from tests.real.cells import check_payloads, records_of

COLUMNS = [("pytorch", "torch"), *(("horovod", engine) for engine in ENGINES["horovod"])]
# (workload, accumulate)
MODELS = [("mlp", 1), ("gpt", 1), ("resnet", 2)]


def _case(column: tuple[str, str], variant: str, workload: str, accumulate: int = 1) -> Case:
    return Case(*column, "data", variant, workload, "tiny", "real", "cpu", 2, steps=1,
                probe_steps=int(workload != "gpt"), warmup_limit=PARITY_STEPS,
                accumulate=accumulate)


def _verdict(case: Case, folder: Path, reference: References) -> Verdict:
    losses = json.loads((folder / "rank-0.json").read_text())["losses"]
    found, initial = load_evidence(folder, losses), initial_weights(case.spec, case.seed)
    return check_compression(found, reference(case.strict), initial, case.compression, 2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_devices(
    column: tuple[str, str], reference: References, tmp_path: Path
) -> None:
    offered = manifest(column[0])
    if not installed(list(offered.DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    cases = [_case(column, variant, *model) for variant in COMPRESSIONS for model in MODELS]
    cases = [case for case in cases if not offered.unsupported_reason(case)]
    reference.prepare(case.strict for case in cases)
    for case, folder in zip(cases, several_launched(cases, tmp_path, 200).values(), strict=True):
        verdict = _verdict(case, folder, reference)
        assert verdict.status == "ok", (case.case_id, verdict)
        records = records_of(folder)
        assert records[0]["ledger"]["gradient_communication"].endswith("float16")
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
