"""What probes and frameworks tell of the same steps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from suite.analysis.communication import communication, payloads
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import read_records
from suite.contract.splits.volumes import logical_communications
from tests.conftest import Launch, launch_case
from tests.real.cells import (
    COLUMNS,
    Column,
    Find,
    Records,
    name,
    parameter,
    records_of,
    unable,
)
from tests.real.conftest import launch_planted

CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]
PRODUCTS = {"torch": "aten::addmm", "tensorflow": "MatMul"}
METERED = "planted_tf"  # tells the CPU time of a step


def _wide(column: Column, cell: tuple[str, str]) -> Case:
    return Case(*column, *cell, "mlp", "wide", "real", "cpu", 2, steps=5, warmup_limit=20)


def test_the_framework_counts_the_same_all_reduces(tmp_path: Path) -> None:
    case = Case("planted", "torch", "intra_layer", "", "gpt", "tiny", "real", "cpu", 2, steps=1,
                warmup_limit=20)
    records = launch_planted(case, "count", tmp_path / "launch")
    counts = json.loads((tmp_path / "launch" / "counts-0.json").read_text())
    # Two a block forward and two backward (Shoeybi et al. 2019, section 3), and nothing else.
    assert list(counts.values()) == [4 * 4] and "all_reduce" in next(iter(counts))
    assert len(payloads(records)["all_reduce"]) == 4 * 4


@pytest.mark.alone
@pytest.mark.parametrize("column", [
    ("horovod", "torch"), pytest.param(("horovod", "tensorflow"), marks=pytest.mark.long),
], ids="-".join)
def test_nothing_computes_beside_a_clean_step(column: Column, tmp_path: Path) -> None:
    """Horovod's timeline did, in a thread that never sleeps (0.99 of a core); now 0.07 are used."""
    case = Case(*column, "data", "", "mlp", "tiny", "real", "cpu", 2, steps=1, probe_steps=0,
                warmup_limit=PARITY_STEPS)
    if reason := unable(case):
        pytest.skip(reason)
    outcome = launch_case(case, tmp_path / "launch", worker="tests.real.idle")
    assert outcome.status == "ok", outcome.reason
    shares = [float(path.read_text()) for path in (tmp_path / "launch").glob("idle-*.json")]
    assert len(shares) == case.devices and max(shares) < 0.5


def test_gradients_of_a_tied_table_travel_with_threads_that_give_way(tmp_path: Path) -> None:
    """Hops keep the kernel's policy, since stages compute while activations arrive."""
    case = Case("pytorch", "torch", "inter_layer", "gpipe", "tests.depths:GPT", "shallow",
                "synthetic", "cpu", 2, steps=1, probe_steps=0, warmup_limit=PARITY_STEPS)
    if reason := unable(case):
        pytest.skip(reason)
    outcome = launch_case(case, tmp_path / "launch", worker="tests.real.policies")
    assert outcome.status == "ok", outcome.reason
    told = list((tmp_path / "launch").glob("policies-*.json"))
    assert len(told) == case.devices
    for found in (json.loads(path.read_text()) for path in told):
        assert os.SCHED_BATCH in found["awaited"] and os.SCHED_BATCH not in found["hops"]


def test_horovod_fuses_what_it_is_asked_for(start: Launch) -> None:
    """A launch of its own, which leaves the group and joins it again for the timeline."""
    case = _wide(("horovod", "torch"), CELLS[0])
    if reason := unable(case):
        pytest.skip(reason)
    outcome, _ = start(case)
    assert outcome.status == "ok", outcome.reason
    records = read_records(outcome.records)
    assert all(trace.events for trace in records[0].profiles)
    wanted, found = logical_communications(case), communication(records)
    assert found["comm_count"] <= len(wanted)
    whole = sum(size for _, size in wanted)
    assert found["comm_count"] * found["comm_bytes"] == pytest.approx(whole)


@pytest.mark.parametrize(
    "case", [_wide((METERED, "tensorflow"), cell) for cell in CELLS], ids=name
)
def test_a_silent_step_computes_all(case: Case, ran: Find) -> None:
    _check_silent(records_of(ran(case)))


@pytest.mark.parametrize("cell", [
    *CELLS[:2], pytest.param(CELLS[2], marks=pytest.mark.long)], ids="-".join)
def test_a_silent_step_of_horovod_computes_all(cell: tuple[str, str], tmp_path: Path) -> None:
    """A session's clock leaves out the threads that Horovod started for it: a launch for each."""
    case = _wide((METERED, "horovod"), cell)
    _check_silent(launch_planted(case, "", tmp_path / "launch"))


def _check_silent(records: Records) -> None:
    """Pruned work would cost no CPU time; a busy machine moves it, seldom three times."""
    for record in records:
        silent, clean = (float(record.ledger[f"{n}step_cpu_s"]) for n in ("silent_", ""))
        assert 0.8 * clean <= silent <= 1.5 * clean


@pytest.mark.parametrize("case", [
    parameter(Case(*column, "data", "", "mlp", "tiny", "real", "cpu", 2, steps=1, warmup_limit=20,
                   timeline=True), column[0] != "horovod")
    for column in COLUMNS if column != ("horovod", "torch")
], ids=name)
def test_a_timeline_is_kept_when_asked_for(case: Case, ran: Find) -> None:
    product, folder = PRODUCTS[case.engine], ran(case)
    for rank in range(len(records_of(folder))):
        trace = json.loads((folder / f"timeline-{rank}.json").read_text())
        names = {str(event.get("name")) for event in trace["traceEvents"]}
        assert any(product in each for each in names)
        if case.engine == "tensorflow":
            assert any(each.startswith("member ") for each in names)
