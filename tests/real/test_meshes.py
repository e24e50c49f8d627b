"""Combined strategies in real processes: proven against the reference, counted by the formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.communication import AMONG, payloads
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

# (strategy, variant, workload, devices, accumulate): on two axes a transformer and one with batch
# statistics; TensorFlow traces a graph of every micro-batch and replica, so there an MLP.
OF_TENSORFLOW = [
    ("data+intra_layer", "", "mlp", 4, 1),
    ("data+inter_layer", "gpipe", "mlp", 4, 1),
    ("intra_layer+inter_layer", "gpipe", "mlp", 4, 1),
    ("data+intra_layer", "", "mlp/deep", 4, 2),
]
OF_TORCH = [
    ("data+intra_layer", "", "gpt/shallow", 4, 2),
    ("data+inter_layer", "gpipe", "gpt/shallow", 4, 1),
    ("intra_layer+inter_layer", "gpipe", "gpt/shallow", 4, 1),
    ("data+intra_layer", "", "gpt", 4, 1),
    ("data+inter_layer", "interleaved", "gpt", 4, 1),
    ("data+inter_layer", "1f1b", "resnet", 4, 1),
    ("intra_layer+inter_layer", "interleaved", "gpt", 4, 2),
    ("data+intra_layer+inter_layer", "gpipe", "gpt/shallow", 8, 1),
]


def _cases(column: Column) -> list[Case]:
    return [
        Case(*column, strategy, variant, *case_fields(workload), "real", "cpu", devices, steps=1,
             probe_steps=1, warmup_limit=PARITY_STEPS, accumulate=accumulate)
        for strategy, variant, workload, devices, accumulate
        in (OF_TORCH if column[1] == "torch" else OF_TENSORFLOW)
    ]


def _kept(case: Case) -> bool:
    """Each two axes of TensorFlow; in PyTorch data beside each of the others, and all three; of
    Horovod, whose layers and stages are proven by themselves, one that sums gradients beside."""
    if case.framework == "horovod":
        return case.engine == "torch" and case.size == "shallow" and (
            case.strategy == "data+intra_layer")
    return case.workload == "mlp" or case.size == "shallow" and "data" in case.axes.names


@pytest.mark.parametrize("case", [
    parameter(case, _kept(case))
    for column in COLUMNS for case in _cases(column)
], ids=name)
def test_a_mesh_is_at_parity_and_moves_what_the_formula_says(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    folder = ran(case)
    records, verdict = records_of(folder), hold(case, evidence_of(folder))
    assert verdict.status == "ok", verdict.reason
    assert all(record.silent_step_seconds for record in records)
    check_payloads(case, records)
    for kind in payloads(records):  # a group of an axis has two members
        collective, _, members = kind.partition(AMONG)
        assert collective == "send_recv" or int(members) == 2
