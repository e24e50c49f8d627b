"""Which trainings a rehearsal is made of."""

from __future__ import annotations

import pytest

from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.measure.rehearsing import LONGER, rehearsal_cases, rehearsal_depth


def _cases(workload: str, size: str, devices: int = 2, **options: object) -> list[Case]:
    asked = {"framework": ["pytorch"], "workload": [workload], "size": size,
             "strategy": ["single", "data", "intra_layer", "inter_layer"], "devices": [devices]}
    return build_matrix(resolve("standard", None, asked | options), 0)


@pytest.mark.parametrize(("workload", "size", "devices", "depth"), [
    ("gpt", "gpt2", 2, 4),  # of twelve blocks, two a stage
    ("gpt", "small", 2, 2),  # of four: one a stage
    ("gpt", "gpt2", 4, 8),
    ("gpt", "small", 4, 0),  # four stages need all of its blocks
    ("bert", "small", 2, 2), ("mlp", "wide", 2, 4), ("resnet", "50", 2, 4),
])
def test_a_stage_rehearses_with_two_units_or_one(
    workload: str, size: str, devices: int, depth: int
) -> None:
    assert rehearsal_depth(_cases(workload, size, devices)) == depth


def test_pipelines_are_rehearsed_with_longer_passes_too() -> None:
    cases = rehearsal_cases(_cases("gpt", "small"), 2)
    assert {case.depth for case in cases} == {2}
    twice = [case for case in cases if case.spec.global_batch == LONGER * 8]
    assert [case.strategy for case in twice] == ["inter_layer"]
    assert len(cases) == 5
