"""Combined strategies in real processes: proven against the reference, counted by the formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.communication import AMONG, payloads
from suite.analysis.parity import Evidence, Verdict
from suite.config import ENGINES
from suite.spec.case import PARITY_STEPS, Case
from tests.conftest import References
from tests.depths import case_fields
from tests.real.cells import (
    Column,
    Find,
    check_payloads,
    evidence_of,
    launched_together,
    records_of,
    skip_unless_offered,
)

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


def _cells(column: Column) -> list[Cell]:
    return CELLS + OF_TORCH * (column[1] == "torch")


def _case(column: Column, cell: Cell) -> Case:
    strategy, variant, workload, devices, accumulate = cell
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", devices,
                steps=1, probe_steps=1, warmup_limit=PARITY_STEPS, accumulate=accumulate)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, reference: References) -> Find:
    return launched_together(
        lambda column: [_case(column, cell) for cell in _cells(column)],
        tmp_path_factory.mktemp("meshes"), 600, reference,
    )


@pytest.mark.timeout(700)  # the first of a column launches for all
@pytest.mark.parametrize(
    ("column", "cell"), [(column, cell) for column in COLUMNS for cell in _cells(column)],
    ids=lambda names: "-".join(map(str, names)),
)
def test_a_mesh_is_at_parity_and_moves_what_the_formula_says(
    column: Column, cell: Cell, ran: Find, hold: Callable[[Case, Evidence], Verdict],
) -> None:
    case = _case(column, cell)
    skip_unless_offered(case)
    folder = ran(case)
    records, verdict = records_of(folder), hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    assert all(record["silent_step_seconds"] for record in records)
    check_payloads(case, records)
    for kind in payloads(records):  # a group of an axis has two members
        collective, _, members = kind.partition(AMONG)
        assert collective == "send_recv" or int(members) == 2
