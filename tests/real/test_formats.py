"""bfloat16 in real processes: cells within the bounds, and planted mistakes outside of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.analysis.parity import Verdict
from suite.analysis.precision import check_precision
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.strategies import STRATEGIES, VARIANTS
from suite.spec.workloads import initial_weights
from tests.conftest import Launch, References, several_launched
from tests.real.cells import check_payloads, records_of

CELLS = [(strategy, variant) for strategy in STRATEGIES[1:] for variant in VARIANTS[strategy]]


def _case(framework: str, cell: tuple[str, str], workload: str, devices: int = 2) -> Case:
    counted = cell[0] == "intra_layer" and workload == "gpt"
    return Case(framework, "torch", *cell, workload, "tiny", "real", "cpu", devices, "bf16",
                steps=1, probe_steps=int(counted), warmup_limit=PARITY_STEPS)


def _verdict(case: Case, folder: Path, reference: References) -> Verdict:
    losses = json.loads((folder / "rank-0.json").read_text())["losses"]
    found, initial = load_evidence(folder, losses), initial_weights(case.spec, case.seed)
    return check_precision(found, reference(case.strict), initial, "bf16")


@pytest.mark.parametrize("framework", ["pytorch", "horovod"])
def test_cells_on_two_devices(
    framework: str, reference: References, tmp_path: Path
) -> None:
    if not installed(list(manifest(framework).DISTRIBUTIONS)):
        pytest.skip(f"{framework} is not installed")
    cases = [_case(framework, cell, workload) for workload in ("gpt", "resnet") for cell in CELLS]
    cases = [case for case in cases if not manifest(framework).unsupported_reason(case)]
    reference.prepare(case.strict for case in cases)
    for case, folder in zip(cases, several_launched(cases, tmp_path, 240).values(), strict=True):
        verdict = _verdict(case, folder, reference)
        assert verdict.status == "ok", (case.case_id, verdict)
        if case.probe_steps:
            check_payloads(case, records_of(folder))


@pytest.mark.parametrize(("fault", "caught"), [
    ("none", ""), ("coarse_parameters", "bfloat16 parameters"),
    ("full_precision", "no bfloat16 rounding"),
])
def test_fault(
    fault: str, caught: str, start: Launch, reference: References,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    case = _case("faulty", ("single", ""), "gpt", 1)
    outcome, folder = start(case)
    assert outcome.status == "ok", outcome.reason
    verdict = _verdict(case, folder, reference)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason
