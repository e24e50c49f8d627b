"""Ranks of each adapter decide together how many steps they time, and none waits for ever."""

from __future__ import annotations

import pytest

from suite.analysis.traced import reduce_launch
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.probing import MOST_STEPS
from suite.contract.records import read_records
from suite.contract.splits.strategies import MULTI_WORKER
from tests.conftest import Launch
from tests.real.cells import Column, name, unable

CELLS: list[tuple[Column, str, str]] = [
    (("pytorch", "torch"), "inter_layer", "gpipe"), (("horovod", "torch"), "data", ""),
    (("horovod", "tensorflow"), "data", ""), (("tensorflow", "tensorflow"), "data", ""),
    (("tensorflow", "tensorflow"), "data", MULTI_WORKER),
]


@pytest.mark.parametrize("case", [
    Case(*column, strategy, variant, "mlp", "tiny", "real", "cpu", 2, steps=1, probe_steps=2,
         warmup_limit=PARITY_STEPS, probe_precision=1e-9)
    for column, strategy, variant in CELLS
], ids=name)
def test_a_precision_that_nothing_reaches_takes_the_most_steps(case: Case, start: Launch) -> None:
    if reason := unable(case):
        pytest.skip(reason)
    outcome, _ = start(case)
    assert outcome.status == "ok", outcome.reason
    records = read_records(outcome.records)
    assert {len(record.traces) for record in records} == {MOST_STEPS}
    assert {len(record.silent_step_seconds) for record in records} == {case.probe_steps}
    reduced = reduce_launch(case, records)
    assert reduced is not None and reduced.columns["timed_steps"] == MOST_STEPS
