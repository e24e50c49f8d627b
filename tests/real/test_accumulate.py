"""Accumulated micro-batches make the same step, and talk as often as the formulas say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
# Where samples see each other each micro-batch is normalised by itself: resnet's reference differs.
CELLS = [("data", "", "resnet"), ("data", "fsdp", "gpt"), ("intra_layer", "", "gpt/shallow"),
         ("inter_layer", "gpipe", "gpt/shallow")]
# TensorFlow traces a graph of every micro-batch, minutes of them.
OF_TORCH = [("inter_layer", "interleaved", "gpt"), ("inter_layer", "gpipe", "resnet"),
            ("intra_layer", "", "resnet")]


Cell = tuple[str, str, str]


def _cells(column: Column) -> list[Cell]:
    return CELLS + OF_TORCH * (column[1] == "torch")


def _case(column: Column, cell: Cell, devices: int = 2) -> Case:
    strategy, variant, workload = cell
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", devices, steps=1,
                probe_steps=int(devices > 1), warmup_limit=PARITY_STEPS, accumulate=2)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, reference: References) -> Find:
    return launched_together(
        lambda column: [_case(column, cell) for cell in _cells(column)],
        tmp_path_factory.mktemp("accumulate"), 280, reference,
    )


@pytest.mark.parametrize(
    ("column", "cell"), [(column, cell) for column in COLUMNS for cell in _cells(column)],
    ids="-".join,
)
def test_two_micro_batches(
    column: Column, cell: Cell, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    case = _case(column, cell)
    skip_unless_offered(case)
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    check_payloads(case, records_of(folder))


@pytest.mark.parametrize("column", COLUMNS[:2], ids="-".join)
def test_one_device(column: Column, prove: Callable[[Case], Verdict]) -> None:
    case = _case(column, ("single", "", "resnet"), devices=1)
    skip_unless_offered(case)
    verdict = prove(case)
    assert verdict.status == "ok", verdict.reason
