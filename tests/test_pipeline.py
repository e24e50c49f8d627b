"""Pipeline schedules as data."""

from __future__ import annotations

import pytest

from suite.spec.strategies import micro_batches, pipeline_order, pipeline_schedule, stage_of_weights
from suite.spec.workloads import find_workload


def _text(variant: str, stage: int) -> str:
    order = pipeline_order(variant, stage, 2, 4)
    return " ".join(f"{kind[0].upper()}{part}" for kind, part in order)


def test_drawn_schedules() -> None:
    assert _text("gpipe", 0) == _text("gpipe", 1) == "F0 F1 F2 F3 B0 B1 B2 B3"
    assert _text("1f1b", 0) == "F0 F1 B0 F2 B1 F3 B2 B3"
    assert _text("1f1b", 1) == "F0 B0 F1 B1 F2 B2 F3 B3"


@pytest.mark.parametrize("variant", ["gpipe", "1f1b", "naive"])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_everything_once_after_what_it_needs(variant: str, stages: int) -> None:
    parts = micro_batches(variant, stages)
    schedule = pipeline_schedule(variant, stages, parts)
    assert len(schedule) == len(set(schedule)) == 2 * stages * parts
    at = {work: index for index, work in enumerate(schedule)}
    for stage in range(1, stages):
        for part in range(parts):
            assert at[stage - 1, "forward", part] < at[stage, "forward", part]
            assert at[stage, "backward", part] < at[stage - 1, "backward", part]


def test_1f1b_holds_no_more_than_the_stages() -> None:
    for stage in range(4):
        held = most = 0
        for kind, _ in pipeline_order("1f1b", stage, 4, 8):
            held += 1 if kind == "forward" else -1
            most = max(most, held)
        assert most == 4 - stage


def test_ends_ride_with_their_stage() -> None:
    owner = stage_of_weights(find_workload("gpt", "tiny"), 2)
    assert owner["embed.token"] == 0 and owner["head.weight"] == owner["norm.scale"] == 1
    assert owner["block1.key.weight"] == 0 and owner["block2.key.weight"] == 1
