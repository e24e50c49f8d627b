"""Pipeline schedules as data."""

from __future__ import annotations

import pytest

from suite.spec.strategies import (
    micro_batches,
    pipeline_order,
    pipeline_schedule,
    stages_of_weights,
    tied_weights,
)
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
    held = stages_of_weights(find_workload("gpt", "tiny"), 2)
    assert held["embed.position.table"] == (0,) and held["norm.scale"] == (1,)
    assert held["block1.norm1.scale"] == (0,) and held["block2.attention.key.weight"] == (1,)


TIED = ["embed.token.table"]


@pytest.mark.parametrize(("stages", "tied"), [(1, []), (2, TIED), (4, TIED)])
def test_token_table_is_on_both_ends(stages: int, tied: list[str]) -> None:
    spec = find_workload("gpt", "tiny")
    ends = (0,) if stages == 1 else (0, stages - 1)
    assert stages_of_weights(spec, stages)["embed.token.table"] == ends
    assert tied_weights(spec, stages) == tied
    assert tied_weights(find_workload("mlp", "wide"), stages) == []
