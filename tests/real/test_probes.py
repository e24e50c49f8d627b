"""What probes and frameworks tell of the same steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.analysis.communication import communication, payloads
from suite.spec.case import Case
from suite.spec.volumes import logical_communications
from tests.conftest import launch_case
from tests.real.cells import Column, Find, launched_together, records_of, skip_unless_offered
from tests.real.conftest import launch_planted

CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]
OF_TENSORFLOW = ["tensorflow", "horovod"]
METERED = "planted_tf"  # tells the CPU time of a step


def _wide(column: Column, cell: tuple[str, str]) -> Case:
    return Case(*column, *cell, "mlp", "wide", "real", "cpu", 2, steps=5, warmup_limit=20)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Find:
    return launched_together(
        lambda column: [_wide(column, cell) for cell in CELLS], tmp_path_factory.mktemp("wide"),
        limit_s=200,
    )


def test_the_framework_counts_the_same_all_reduces(tmp_path: Path) -> None:
    case = Case("planted", "torch", "intra_layer", "", "gpt", "tiny", "real", "cpu", 2, steps=1,
                warmup_limit=20)
    records = launch_planted(case, "count", tmp_path / "launch")
    counts = json.loads((tmp_path / "launch" / "counts-0.json").read_text())
    # Two a block forward and two backward (Shoeybi et al. 2019, section 3), and nothing else.
    assert list(counts.values()) == [4 * 4] and "all_reduce" in next(iter(counts))
    assert len(payloads(records)["all_reduce"]) == 4 * 4


def test_horovod_fuses_what_it_is_asked_for(tmp_path: Path) -> None:
    skip_unless_offered(case := _wide(("horovod", "torch"), ("data", "")))
    outcome = launch_case(case, tmp_path / "launch")
    wanted, found = logical_communications(case), communication(outcome.records)
    assert found["comm_count"] <= len(wanted)
    whole = sum(size for _, size in wanted)
    assert found["comm_count"] * found["comm_bytes"] == pytest.approx(whole)


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@pytest.mark.parametrize("framework", OF_TENSORFLOW)
def test_a_silent_step_computes_all(
    framework: str, cell: tuple[str, str], ran: Find, tmp_path: Path
) -> None:
    """Pruned work would cost no CPU time; a busy machine moves it, seldom three times."""
    skip_unless_offered(_wide((framework, "tensorflow"), cell))
    case = _wide((METERED, framework), cell)
    # A session's clock leaves out the threads that Horovod started for it, so each has a launch.
    alone = framework == "horovod"
    records = launch_planted(case, "", tmp_path / "launch") if alone else records_of(ran(case))
    for record in records:
        silent, clean = (float(record["ledger"][f"{n}step_cpu_s"]) for n in ("silent_", ""))
        assert 0.8 * clean <= silent <= 1.5 * clean


@pytest.mark.parametrize(("column", "product"), [
    (("pytorch", "torch"), "aten::addmm"),
    *(((framework, "tensorflow"), "MatMul") for framework in OF_TENSORFLOW),
])
def test_a_timeline_is_kept_when_asked_for(column: Column, product: str, tmp_path: Path) -> None:
    case = Case(*column, "data", "", "mlp", "tiny", "real", "cpu", 2, steps=1, warmup_limit=20,
                timeline=True)
    skip_unless_offered(case)
    outcome = launch_case(case, tmp_path / "launch")
    assert outcome.status == "ok", outcome.reason
    for rank in range(len(outcome.records)):
        trace = json.loads((tmp_path / "launch" / f"timeline-{rank}.json").read_text())
        names = {str(event.get("name")) for event in trace["traceEvents"]}
        assert any(product in name for name in names)
        if column[1] == "tensorflow":
            assert any(name.startswith("member ") for name in names)
