"""Compiled models in real processes: the same proof as eager ones, communication still seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.analysis.parity import check
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.workloads import initial_weights
from tests.conftest import References, several_launched
from tests.depths import case_fields

# Each compiles for long.
CELLS = {
    "pytorch": [("data", "", "gpt/shallow"), ("inter_layer", "1f1b", "mlp")],
    "tensorflow": [("data", "", "gpt/shallow")],
    "horovod": [("data", "", "mlp")],
}


@pytest.mark.parametrize(("framework", "engine"), [
    ("pytorch", "torch"), ("tensorflow", "tensorflow"), ("horovod", "torch"),
])
def test_cells_on_two_devices(
    framework: str, engine: str, reference: References, tmp_path: Path
) -> None:
    if not installed(list(manifest(framework).DISTRIBUTIONS)):
        pytest.skip(f"{framework} is not installed")
    cases = [
        Case(framework, engine, strategy, variant, *case_fields(workload), "real", "cpu", 2,
             mode="compiled", steps=1, probe_steps=1, warmup_limit=PARITY_STEPS)
        for strategy, variant, workload in CELLS[framework]
    ]
    assert not any(map(manifest(framework).unsupported_reason, cases))
    for case, folder in zip(cases, several_launched(cases, tmp_path, 280).values(), strict=True):
        record = json.loads((folder / "rank-0.json").read_text())
        found, initial = load_evidence(folder, record["losses"]), initial_weights(case.spec, 0)
        verdict = check(found, reference(case), initial)
        assert verdict.status == "ok", (case.case_id, verdict)
        assert record["traces"][0]["events"], case.case_id
