"""Combined strategies in real processes: proven against the reference, counted by the formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from suite.analysis.communication import AMONG, payloads
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
# (strategy, variant, workload, devices, accumulate): on two axes a transformer and one with batch
# statistics.
CELLS = [
    ("data+intra_layer", "", "gpt/shallow", 4, 2),
    ("data+inter_layer", "gpipe", "gpt/shallow", 4, 1),
    ("intra_layer+inter_layer", "gpipe", "gpt/shallow", 4, 1),
]
# TensorFlow traces a graph of every micro-batch: minutes on two cores, which tests do not have.
OF_TORCH = [
    ("data+intra_layer", "", "gpt", 4, 1),
    ("data+inter_layer", "interleaved", "gpt", 4, 1),
    ("data+inter_layer", "1f1b", "resnet", 4, 1),
    ("intra_layer+inter_layer", "interleaved", "gpt", 4, 2),
    ("data+intra_layer+inter_layer", "gpipe", "gpt", 8, 1),
]
Cell = tuple[str, str, str, int, int]
Find = Callable[[Case], Path]


def _cells(column: tuple[str, str]) -> list[Cell]:
    return CELLS + OF_TORCH * (column[1] == "torch")


def _case(column: tuple[str, str], cell: Cell) -> Case:
    strategy, variant, workload, devices, accumulate = cell
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", devices,
                steps=1, probe_steps=1, warmup_limit=PARITY_STEPS, accumulate=accumulate)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """A case's folder of the group that runs all of its column's cells of a device count."""

    @cache
    def launched(column: tuple[str, str], devices: int) -> dict[str, Path]:
        cases = [_case(column, cell) for cell in _cells(column) if cell[3] == devices]
        able = [case for case in cases if not manifest(column[0]).unsupported_reason(case)]
        return several_launched(able, tmp_path_factory.mktemp("meshes"), timeout_s=600)

    return lambda case: launched((case.framework, case.engine), case.devices)[case.case_id]


@pytest.mark.timeout(700)  # the first of a column launches for all
@pytest.mark.parametrize(
    ("column", "cell"), [(column, cell) for column in COLUMNS for cell in _cells(column)],
    ids=lambda names: "-".join(map(str, names)),
)
def test_a_mesh_is_at_parity_and_moves_what_the_formula_says(
    column: tuple[str, str], cell: Cell, group: Find,
    hold: Callable[[Case, Evidence], Verdict],
) -> None:
    if not installed(list(manifest(column[0]).DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    case = _case(column, cell)
    if reason := manifest(column[0]).unsupported_reason(case):
        pytest.skip(reason)
    folder = group(case)
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    assert records, (folder.parent / "group" / "worker.log").read_text()[-2000:]
    verdict = hold(case, load_evidence(folder, records[0]["losses"], keep=True))
    assert verdict.status == "ok", verdict.reason
    assert all(record["silent_step_seconds"] for record in records)
    _check_payloads(case, records)


def _check_payloads(case: Case, records: list[dict[str, Any]]) -> None:
    """Of PyTorch's replicas the sum, since DDP reduces buckets; every group has two members."""
    found: dict[str, list[int]] = {}
    for kind, sizes in payloads(records).items():
        collective, _, members = kind.partition(AMONG)
        assert collective == "send_recv" or int(members) == 2
        found.setdefault(collective, []).extend(sizes)
    wanted: dict[str, list[int]] = {}
    for kind, size in logical_communications(case):
        wanted.setdefault(kind, []).append(size)
    if case.framework == "pytorch" and "data" in case.axes.names:
        assert len(found["all_reduce"]) < len(wanted["all_reduce"])
        for side in (found, wanted):
            side["all_reduce"] = [sum(side["all_reduce"])]
    assert {kind: sorted(sizes) for kind, sizes in found.items()} == {
        kind: sorted(sizes) for kind, sizes in wanted.items()
    }
