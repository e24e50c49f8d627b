"""Gradients in 16 bits in real processes: within their bounds, counted, and mistakes caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.analysis.communication import payloads
from suite.analysis.parity import Evidence, Verdict
from suite.analysis.precision import check_compression
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.strategies import COMPRESSIONS
from suite.spec.volumes import logical_communications
from suite.spec.workloads import initial_weights
from tests.conftest import Launch, several_launched

COLUMNS = [("pytorch", "torch"), *(("horovod", engine) for engine in ENGINES["horovod"])]
# (workload, accumulate)
MODELS = [("mlp", 1), ("gpt", 1), ("resnet", 2)]


def _case(column: tuple[str, str], variant: str, workload: str, accumulate: int = 1) -> Case:
    return Case(*column, "data", variant, workload, "tiny", "real", "cpu", 2, steps=1,
                probe_steps=1, warmup_limit=PARITY_STEPS, accumulate=accumulate)


def _verdict(case: Case, folder: Path, reference: Callable[..., Evidence]) -> Verdict:
    losses = json.loads((folder / "rank-0.json").read_text())["losses"]
    found, initial = load_evidence(folder, losses), initial_weights(case.spec, case.seed)
    return check_compression(found, reference(case.strict), initial, case.compression, 2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_devices(
    column: tuple[str, str], reference: Callable[..., Evidence], tmp_path: Path
) -> None:
    offered = manifest(column[0])
    if not installed(list(offered.DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    cases = [_case(column, variant, *model) for variant in COMPRESSIONS for model in MODELS]
    cases = [case for case in cases if not offered.unsupported_reason(case)]
    for case, folder in zip(cases, several_launched(cases, tmp_path, 200).values(), strict=True):
        verdict = _verdict(case, folder, reference)
        assert verdict.status == "ok", (case.case_id, verdict)
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
        assert records[0]["ledger"]["gradient_communication"].endswith("float16")
        # Buckets are fewer, of the same sum.
        sizes = [size for _, size in logical_communications(case)]
        assert sum(payloads(records)["all_reduce"]) == sum(sizes), case.case_id


@pytest.mark.parametrize(("fault", "caught"), [
    ("none", ""), ("undivided_compression", "gradient"), ("scaled_compression", "scale"),
    ("forgotten_compression", "no fp16 rounding"),
])
def test_fault(
    fault: str, caught: str, start: Launch, reference: Callable[..., Evidence],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    case = _case(("faulty", "torch"), "fp16", "mlp")
    outcome, folder = start(case)
    assert outcome.status == "ok", outcome.reason
    verdict = _verdict(case, folder, reference)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason
