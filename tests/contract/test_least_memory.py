"""The least memory of a case: counted by hand, never above what real processes held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.contract.least_memory import LeastMemory, least_memory, sample_bytes
from suite.contract.splits.strategies import VARIANTS
from suite.contract.workloads import WORKLOADS, find_workload
from suite.runfolder.reading import read_run

SAMPLE = Path(__file__).parents[2] / "results" / "sample"
SINGLE = Case("pytorch", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1)


def test_an_mlp_by_hand() -> None:
    spec = find_workload("mlp", "tiny")
    widths = spec.widths  # type: ignore[attr-defined]
    weights = sum((a + 1) * b for a, b in zip(widths, widths[1:], strict=False))
    sample = sample_bytes(spec)
    logits = spec.targets.classes
    states = (4 + 2) * 4 * weights  # with the two copies of the proof
    batch, activations = 64 * sample, 64 * 4 * (sum(widths[1:]) + logits)
    assert least_memory(SINGLE) == LeastMemory(states + 2 * batch + activations)
    assert least_memory(SINGLE, batches=4) == LeastMemory(states + 8 * batch + activations)


def test_what_changes_it() -> None:
    case = replace(SINGLE, workload="gpt", size="small")
    need = least_memory(case).host_bytes
    assert least_memory(replace(case, dtype="float64")).host_bytes > 1.9 * need
    assert least_memory(replace(case, accumulate=8)).host_bytes < need
    data = replace(case, strategy="data", devices=2)
    assert least_memory(data).host_bytes > need  # a replica of the parameters more
    assert least_memory(replace(data, variant="fsdp")).host_bytes < least_memory(data).host_bytes
    gpu = least_memory(replace(data, device="cuda"))
    assert 0 < gpu.device_bytes < least_memory(data).host_bytes and gpu.host_bytes < need


@pytest.mark.parametrize("name", WORKLOADS)
def test_more_samples_never_need_less(name: str) -> None:
    for size in WORKLOADS[name]:
        case = replace(SINGLE, workload=name, size=size)
        for strategy, variants in VARIANTS.items():
            split = replace(case, strategy=strategy, variant=variants[0],
                            devices=1 if strategy == "single" else 2)
            needs = [least_memory(replace(split, global_batch=batch)).host_bytes
                     for batch in (2, 64, 4096)]
            assert needs == sorted(needs) and needs[0] > 0


def test_processes_that_ran_held_more() -> None:
    """A run of real frameworks: each row's processes together against the least amount."""
    stored = read_run(SAMPLE)
    cases = {result.case.case_id: result.case for result in stored.results}
    rows = [row for row in stored.rows() if row.peak_memory_bytes]
    assert len(rows) > 5
    for row in rows:
        case = cases[row.case_id]
        processes = 1 if case.placed else case.devices
        assert row.peak_memory_bytes is not None
        assert least_memory(case).host_bytes < processes * row.peak_memory_bytes, row.case_id
