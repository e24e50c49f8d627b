"""Accumulated micro-batches make the same step, and talk as often as the formulas say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.volumes import logical_communications
from tests.conftest import several_launched
from tests.depths import case_fields

COLUMNS = [(framework, engine) for framework, engines in ENGINES.items() for engine in engines]
# Where samples see each other each micro-batch is normalised by itself: resnet's reference differs.
CELLS = [("data", "", "resnet"), ("data", "fsdp", "gpt"), ("intra_layer", "", "gpt/shallow"),
         ("inter_layer", "gpipe", "gpt/shallow")]
# TensorFlow traces a graph of every micro-batch, minutes of them.
OF_TORCH = [("inter_layer", "interleaved", "gpt"), ("inter_layer", "gpipe", "resnet"),
            ("intra_layer", "", "resnet")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_micro_batches(
    column: tuple[str, str], hold: Callable[[Case, Evidence], Verdict], tmp_path: Path
) -> None:
    offered = manifest(column[0])
    if not installed(list(offered.DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    cells = [
        Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", 2, steps=1,
             probe_steps=1, warmup_limit=PARITY_STEPS, accumulate=2)
        for strategy, variant, workload in CELLS + OF_TORCH * (column[1] == "torch")
    ]
    cases = [case for case in cells if not offered.unsupported_reason(case)]
    for case_id, folder in several_launched(cases, tmp_path, timeout_s=200).items():
        case = next(case for case in cases if case.case_id == case_id)
        records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
        assert records, case_id
        verdict = hold(case, load_evidence(folder, records[0]["losses"], keep=True))
        assert verdict.status == "ok", (case_id, verdict.reason)
        _says_what_it_sends(case, records)


@pytest.mark.parametrize("column", COLUMNS[:2], ids="-".join)
def test_one_device(column: tuple[str, str], prove: Callable[[Case], Verdict]) -> None:
    if not installed(list(manifest(column[0]).DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    case = Case(*column, "single", "", "resnet", "tiny", "real", "cpu", 1, steps=1, probe_steps=0,
                warmup_limit=PARITY_STEPS, accumulate=2)
    verdict = prove(case)
    assert verdict.status == "ok", verdict.reason


def _says_what_it_sends(case: Case, records: list[dict[str, object]]) -> None:
    """Bytes of a kind over all devices; bucketing and sharding change their number only."""
    members, hops = Counter[str](), Counter[str]()
    for event in [e for r in records for e in r["traces"][-1]["events"]]:  # type: ignore[index]
        if event["role"] == "member":
            members[event["kind"]] += event["payload_bytes"]
        elif event["role"] == "recv":
            hops[event["kind"]] += event["payload_bytes"]
    wanted = Counter[str]()
    for kind, size in logical_communications(case):
        wanted[kind] += size
    found = Counter({kind: size // case.devices for kind, size in members.items()}) + hops
    assert found == wanted, case.case_id
