"""Recomputed blocks and ZeRO's stages in real processes: proven, and counted by the formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from tests.depths import case_fields
from tests.real.cells import (
    COLUMNS,
    Column,
    Find,
    check_payloads,
    evidence_of,
    name,
    parameter,
    records_of,
)

# resnet: where samples see each other, the second pass has to see the same ones.
CELLS = [("data", "", "resnet"), ("data", "", "gpt/shallow"),
         ("inter_layer", "1f1b", "gpt/shallow")]
OF_TORCH = [("intra_layer", "", "bert/shallow"), ("intra_layer", "", "resnet")]
OF_PYTORCH = [("data", "fsdp", "gpt/shallow"), ("data", "zero2", "gpt/shallow")]
# (variant, workload, accumulate)
SHARDED = [("zero1", "gpt/shallow", 1), ("zero2", "gpt/shallow", 1),
           ("zero1", "resnet", 2), ("zero2", "resnet", 2)]


def _case(
    column: Column, strategy: str, variant: str, workload: str, recompute: str = "blocks",
    accumulate: int = 1,
) -> Case:
    return Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", 2, steps=1,
                probe_steps=1, warmup_limit=PARITY_STEPS, recompute=recompute,
                accumulate=accumulate)


def _kept(column: Column, cell: tuple[str, str, str]) -> bool:
    """Every cell of PyTorch's, and of the others a transformer; Horovod's tensorflow engine
    recomputes TensorFlow's own blocks."""
    if column == ("pytorch", "torch"):
        return cell != OF_TORCH[1]
    return column != ("horovod", "tensorflow") and cell in (CELLS[1], OF_TORCH[0])


@pytest.mark.parametrize("case", [
    *(parameter(_case(column, *cell), _kept(column, cell)) for column in COLUMNS for cell in CELLS),
    *(parameter(_case(column, *cell), _kept(column, cell))
      for column in COLUMNS if column[1] == "torch" for cell in OF_TORCH),
    *(parameter(_case(("pytorch", "torch"), *cell), cell == OF_PYTORCH[0]) for cell in OF_PYTORCH),
    *(parameter(_case(("pytorch", "torch"), "data", variant, workload, "none", accumulate),
                (variant, accumulate) != ("zero1", 2))
      for variant, workload, accumulate in SHARDED),
], ids=name)
def test_the_same_step_with_less_in_memory(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    verdict = hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    check_payloads(case, records_of(folder))
