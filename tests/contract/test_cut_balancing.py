"""What stage cuts do when devices change, and that they rest when nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from suite.contract.case import Case
from suite.contract.splits.cut_balancing import CutBalancer, StageFilter
from suite.contract.splits.stages import moved_weights, stages_of_weights
from suite.measure.availability import unsupported_reason
from tests.accuracy.cutting import FAULT_AT, Course, simulate

GPT = Case("pytorch", "torch", "inter_layer", "1f1b", "gpt", "tiny", "real", "cpu", 2,
           balance="dynamic")


def _courses(
    noise: float, spikes: float, costs: float, fault: bool, devices: int = 2, units: int = 12
) -> list[Course]:
    return [simulate(CutBalancer, noise, spikes, costs, fault, seed, devices, units)
            for seed in range(8)]


@pytest.mark.parametrize(("noise", "costs", "devices"),
                         [(0.01, 0.0, 2), (0.03, 0.2, 2), (0.1, 0.0, 2), (0.03, 0.0, 4)])
def test_a_device_half_as_fast_gives_layers_away_within_ten_steps(
    noise: float, costs: float, devices: int
) -> None:
    courses = _courses(noise, 0.0, costs, True, devices)
    late = [one.late() for one in courses]
    assert np.median(late) <= 10 and min(late) > 0, late
    settled = slice(FAULT_AT + 20, None)
    excess = [one.seconds[settled].mean() / one.ideal_s[settled].mean() for one in courses]
    assert np.mean(excess) < 1.05, excess


def test_l_falls_to_what_twelve_layers_allow() -> None:
    course = simulate(CutBalancer, 0.03, 0.0, 0.0, True, 1, 2, 12)
    assert course.imbalance[FAULT_AT] == pytest.approx(4 / 3)
    assert course.imbalance[-1] <= 1.1 and course.cuts[-1] == (8, 4)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_alone_moves_nothing(noise: float) -> None:
    assert sum(one.moves for one in _courses(noise, 0.0, 0.0, False)) == 0


def test_costs_that_are_not_flops_are_learned_and_then_nothing_oscillates() -> None:
    courses = _courses(0.03, 0.0, 0.4, False)
    assert sum(one.moves for one in courses) > 0
    assert max(one.moves for one in courses) <= 3
    assert all(len(set(one.cuts[80:])) == 1 for one in courses)


def test_a_unit_that_moves_tells_what_it_costs() -> None:
    """The last unit costs three times what is known of it; a device keeps its pace meanwhile."""
    learned = StageFilter(2, [1.0] * 4)
    for cut, busy in [((2, 2), (2.0, 4.0)), ((3, 1), (3.0, 3.0))]:
        for _ in range(12):
            learned.update(cut, busy)
    assert learned.busy((3, 1)) == pytest.approx([3.0, 3.0], rel=0.02)
    assert learned.busy((2, 2)) == pytest.approx([2.0, 4.0], rel=0.1)
    known = StageFilter(2, [1.0] * 4)
    for _ in range(12):
        known.update((2, 2), (2.0, 4.0))
    # Without a move most of it is laid to the device, since both are possible.
    pace, cost = (one.paces[1] / one.paces[0] for one in (known, learned)), (
        one.costs[3] / one.costs[0] for one in (known, learned))
    assert np.diff(list(pace))[0] < -0.1 and np.diff(list(cost))[0] > 0.3


def test_one_outlier_is_held_back_and_three_are_a_change_of_pace() -> None:
    stages = StageFilter(2, [1.0] * 4)
    for _ in range(20):
        stages.update((2, 2), (2.0, 2.0))
    before = stages.paces[1]
    stages.update((2, 2), (2.0, 6.0))
    assert stages.paces[1] == before
    stages.update((2, 2), (2.0, 2.0))
    costs = stages.costs
    for _ in range(3):
        stages.update((2, 2), (2.0, 6.0))
    assert stages.paces[1] == pytest.approx(3 * before, rel=0.05)
    assert stages.costs == pytest.approx(costs, rel=0.05)


def test_all_ranks_decide_alike() -> None:
    generator = np.random.default_rng(0)
    one, other = CutBalancer((4, 4), [1.0] * 8), CutBalancer((4, 4), [1.0] * 8)
    for _ in range(50):
        busy = np.exp(generator.normal(0, 0.5, 2)).tolist()
        assert one.observe(one.cut, busy) == other.observe(other.cut, busy)


def test_what_moves_is_what_the_stages_hold_differently() -> None:
    moved = moved_weights(GPT.spec, (2, 2), (3, 1))
    assert {name.split(".")[0] for name in moved} == {"block2"}
    assert set(moved.values()) == {(1, 0)}
    before, after = (stages_of_weights(GPT.spec, 2, cut=cut) for cut in ((2, 2), (3, 1)))
    assert all((before[name] == after[name]) != (name in moved) for name in before)
    assert {pair for pair in moved_weights(GPT.spec, (1, 1, 2), (1, 2, 1)).values()} == {(2, 1)}


@pytest.mark.parametrize(("fields", "words"), [
    ({}, ""), ({"framework": "horovod"}, ""),
    ({"framework": "horovod", "engine": "tensorflow"}, ""),
    ({"framework": "tensorflow", "engine": "tensorflow"}, "no clock tells what a stage"),
    ({"variant": "interleaved", "devices": 2}, "several stages"),
    ({"device": "cuda"}, "CPU clocks"),
    ({"mode": "compiled"}, "compiled anew"), ({"devices": 4}, "no layer that could move"),
    ({"strategy": "data+inter_layer", "devices": 4}, "more than one way to balance"),
    ({"strategy": "intra_layer", "variant": ""}, "shards of one size"),
])
def test_what_cannot_be_cut_anew_says_why(fields: dict[str, object], words: str) -> None:
    own = {"framework": "pytorch", "engine": "torch", "strategy": "inter_layer",
           "variant": "1f1b", "device": "cpu", "mode": "eager", "devices": 2} | fields
    case = Case(**own, workload="gpt", size="tiny", data="real", balance="dynamic")  # type: ignore[arg-type]
    found = unsupported_reason(case, {str(own["framework"]): "python"})
    assert words in found and bool(found) == bool(words), found
