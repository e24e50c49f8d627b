"""Truths planted in real training on torch, and found by the probes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.analysis.communication import communication, payloads
from suite.spec.case import Case
from suite.spec.volumes import logical_communications
from tests.conftest import launch_case
from tests.real.conftest import Measure, launch_planted

ADAPTER, COLUMNS = "planted", ["torch", "horovod"]
CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]


@pytest.mark.parametrize("workload", ["mlp", "gpt", "efficientnet"])
@pytest.mark.parametrize(
    "cell", [*CELLS, ("data", "fsdp"), ("inter_layer", "1f1b"), ("inter_layer", "naive"),
             ("inter_layer", "interleaved")], ids="-".join,
)
@pytest.mark.parametrize("column", COLUMNS)
def test_payloads_are_the_closed_formula(
    column: str, cell: tuple[str, str], workload: str, measure: Measure
) -> None:
    if workload == "mlp" and cell not in CELLS:
        pytest.skip("the schedule changes nothing that gpt does not show")
    if workload == "efficientnet" and cell[0] != "intra_layer":
        pytest.skip("the sums inside its branches are what gpt has none of")
    if cell[1] == "fsdp" and column == "horovod":
        pytest.skip("Horovod has no fully sharded data parallel")
    records = measure(ADAPTER, column, cell, workload=workload)
    framework = "pytorch" if column == "torch" else "horovod"
    size = "wide" if workload == "mlp" else "tiny"
    case = Case(framework, "torch", *cell, workload, size, "real", "cpu", 2)
    wanted: dict[str, list[int]] = {}
    for kind, payload in logical_communications(case):
        wanted.setdefault(kind, []).append(payload)
    found = payloads(records)
    if column == "torch" and cell[0] == "data":  # buckets: fewer, of the same sum
        assert found.keys() == wanted.keys()
        assert all(len(found[kind]) < len(wanted[kind]) for kind in wanted)
        found, wanted = ({k: [sum(v)] for k, v in side.items()} for side in (found, wanted))
    assert {k: sorted(v) for k, v in found.items()} == {k: sorted(v) for k, v in wanted.items()}


def test_the_framework_counts_the_same_all_reduces(tmp_path: Path) -> None:
    case = Case("planted", "torch", "intra_layer", "", "gpt", "tiny", "real", "cpu", 2, steps=1,
                warmup_limit=20)
    records = launch_planted(case, "count", tmp_path / "launch")
    counts = json.loads((tmp_path / "launch" / "counts-0.json").read_text())
    # Two a block forward and two backward (Shoeybi et al. 2019, section 3), and nothing else.
    assert list(counts.values()) == [4 * 4] and "all_reduce" in next(iter(counts))
    assert len(payloads(records)["all_reduce"]) == 4 * 4


def test_horovod_fuses_what_it_is_asked_for(measure: Measure) -> None:
    wanted = logical_communications(
        Case("horovod", "torch", "data", "", "mlp", "wide", "real", "cpu", 2)
    )
    found = communication(measure(ADAPTER, "horovod", ("data", "")))
    assert found["comm_count"] <= len(wanted)
    whole = sum(size for _, size in wanted)
    assert found["comm_count"] * found["comm_bytes"] == pytest.approx(whole)


def test_a_timeline_is_kept_when_asked_for(tmp_path: Path) -> None:
    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2, steps=1,
                warmup_limit=20, timeline=True)
    outcome = launch_case(case, tmp_path / "launch")
    assert outcome.status == "ok", outcome.reason
    for rank in range(2):
        assert '"traceEvents"' in (tmp_path / "launch" / f"timeline-{rank}.json").read_text()
