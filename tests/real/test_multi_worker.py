"""TensorFlow with a process a device: parity, what is sent, and no process left."""

from __future__ import annotations

import json

import pytest

from suite.analysis.parity import check
from suite.analysis.traced import reduce_launch
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import read_records
from suite.contract.registry import traits_of
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import initial_weights
from suite.machine.software import installed_version
from suite.measure.proofs import load_evidence
from tests.conftest import Launch, References
from tests.depths import case_fields


@pytest.mark.parametrize("workload", [
    "gpt/shallow", pytest.param("resnet", marks=pytest.mark.long)])
def test_workers_are_at_parity(
    workload: str, start: Launch, reference: References
) -> None:
    if not installed_version(traits_of("tensorflow").distributions):
        pytest.skip("tensorflow is not installed")
    case = Case("tensorflow", "tensorflow", "data", MULTI_WORKER, *case_fields(workload),
                "real", "cpu", 2, steps=2, probe_steps=2, warmup_limit=PARITY_STEPS)
    outcome, folder = start(case)
    assert outcome.status == "ok", outcome.reason
    assert len(outcome.records) == case.devices
    found = load_evidence(folder, json.loads((folder / "rank-0.json").read_text())["losses"])
    verdict = check(found, reference(case), initial_weights(case.spec, case.seed))
    assert verdict.status == "ok", verdict
    records = read_records(outcome.records)
    for record in records:
        assert record.losses == records[0].losses
        sent = [event.payload_bytes for event in record.traces[-1].events]
        assert sorted(sent) == sorted(size for _, size in logical_communications(case))
    reduced = reduce_launch(case, records)
    assert reduced is not None
    assert reduced.columns["t_comm_s"] > 0
