"""Pipeline schedules as data."""

from __future__ import annotations

import pytest

from suite.contract.splits.schedule import (
    Work,
    ideal_bubble,
    micro_batches,
    needed,
    pipeline_order,
    pipeline_schedule,
)
from suite.contract.splits.stages import stage_count, stages_of_weights, tied_weights
from suite.contract.splits.strategies import VARIANTS
from suite.contract.workloads import find_workload


def _text(variant: str, stage: int) -> str:
    """A device's later stage in small letters."""
    order = pipeline_order(variant, stage, 2, 4)
    letters = {"forward": "Ff", "backward": "Bb"}
    return " ".join(f"{letters[kind][held // 2]}{part}" for held, kind, part in order)


def test_drawn_schedules() -> None:
    assert _text("gpipe", 0) == _text("gpipe", 1) == "F0 F1 F2 F3 B0 B1 B2 B3"
    assert _text("1f1b", 0) == "F0 F1 B0 F2 B1 F3 B2 B3"
    assert _text("1f1b", 1) == "F0 B0 F1 B1 F2 B2 F3 B3"
    assert _text("interleaved", 0) == "F0 F1 f0 f1 F2 b0 F3 b1 f2 B0 f3 B1 b2 b3 B2 B3"
    assert _text("interleaved", 1) == "F0 F1 f0 b0 f1 b1 F2 B0 F3 B1 f2 b2 f3 b3 B2 B3"


@pytest.mark.parametrize("variant", VARIANTS["inter_layer"])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_everything_once_after_what_it_needs(variant: str, devices: int) -> None:
    parts, stages = micro_batches(variant, devices), stage_count(variant, devices)
    schedule = pipeline_schedule(variant, devices, parts)
    assert len(schedule) == len(set(schedule)) == 2 * stages * parts
    at = {work: index for index, work in enumerate(schedule)}
    for stage in range(1, stages):
        for part in range(parts):
            assert at[stage - 1, "forward", part] < at[stage, "forward", part]
            assert at[stage, "backward", part] < at[stage - 1, "backward", part]


def _steps(variant: str, devices: int, parts: int) -> int:
    """Length of a schedule whose pieces of work all take one step, each begun once it can be."""
    waiting = [pipeline_order(variant, device, devices, parts) for device in range(devices)]
    last, done, steps = stage_count(variant, devices) - 1, set[Work | None]([None]), 0
    while any(waiting):
        begun = [order.pop(0) for order in waiting if order and needed(order[0], last) in done]
        done.update(begun)
        steps += 1
    return steps


@pytest.mark.parametrize("variant", VARIANTS["inter_layer"])
@pytest.mark.parametrize(("devices", "accumulate"), [(1, 1), (2, 1), (3, 1), (4, 1), (4, 3)])
def test_the_bubble_is_the_ideal_one(variant: str, devices: int, accumulate: int) -> None:
    parts = micro_batches(variant, devices, accumulate)
    work = 2 * parts * stage_count(variant, devices) // devices
    idle = 1 - work / _steps(variant, devices, parts)
    assert idle == pytest.approx(ideal_bubble(variant, devices, parts))


def test_interleaving_halves_the_bubble_over_the_work() -> None:
    plain, interleaved = (ideal_bubble(variant, 4, 8) for variant in ("1f1b", "interleaved"))
    assert plain / (1 - plain) == pytest.approx(2 * interleaved / (1 - interleaved))


def test_1f1b_holds_no_more_than_the_stages() -> None:
    for stage in range(4):
        held = most = 0
        for _, kind, _ in pipeline_order("1f1b", stage, 4, 8):
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
