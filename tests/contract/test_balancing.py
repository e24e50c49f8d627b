"""What shares do when devices change, and that they rest when nothing does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.validation import validate
from suite.contract.case import Case
from suite.contract.planned_loss import planned_loss
from suite.contract.splits.balancing import Balancer, SpeedFilter, share_quantum
from suite.contract.splits.batches import dealt
from suite.measure.availability import unsupported_reason
from tests.accuracy.balancing import FAULT_AT, simulate


def test_quanta_are_a_thirty_second_of_an_even_share() -> None:
    assert share_quantum(128, 2) == 2 and share_quantum(1024, 4) == 8
    assert share_quantum(8, 2) == 1 and share_quantum(96, 2) == 1
    assert share_quantum(256, 2, accumulate=8) == 8  # micro-batches stay equal


@pytest.mark.parametrize(("noise", "spikes"), [(0.01, 0.0), (0.03, 0.0), (0.1, 0.0), (0.03, 0.05)])
def test_a_device_half_as_fast_is_relieved_within_ten_steps(noise: float, spikes: float) -> None:
    def late(seed: int) -> int:
        return simulate(Balancer, noise, spikes, True, seed).late()

    found = [late(seed) for seed in range(40)]
    assert np.quantile(found, 0.9) <= 10 and min(found) > 0


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_alone_moves_nothing(noise: float) -> None:
    assert sum(simulate(Balancer, noise, 0.0, False, seed).moves for seed in range(40)) == 0


def test_spikes_cost_less_than_a_percent() -> None:
    courses = [simulate(Balancer, 0.03, 0.05, False, seed) for seed in range(40)]
    lost = sum(one.seconds.sum() - one.ideal_s.sum() for one in courses)
    assert lost / sum(one.ideal_s.sum() for one in courses) < 0.01


@pytest.mark.parametrize("devices", [2, 4])
def test_the_shares_found_are_within_five_percent_of_the_best(devices: int) -> None:
    course = simulate(Balancer, 0.03, 0.0, True, 1, devices, batch=64 * devices)
    settled = slice(FAULT_AT + 20, None)
    assert course.seconds[settled].mean() < 1.05 * course.ideal_s[settled].mean()


def test_a_device_keeps_a_piece_however_slow_it_is() -> None:
    balancer, shares = Balancer((32, 32), 2), (32, 32)
    for _ in range(12):
        shares = balancer.observe(shares, [1e-3 * shares[0], 1.0 * shares[1]])
    assert shares == (62, 2)


def test_one_outlier_is_held_back_and_three_are_a_jump() -> None:
    speed = SpeedFilter(0.0)
    for _ in range(30):
        speed.update(0.0)
    speed.update(1.0)
    assert speed.level == 0.0
    speed.update(0.0)
    for seen in (0.6, 0.7, 0.8):
        speed.update(seen)
    assert speed.level == pytest.approx(0.7)


def test_all_ranks_decide_alike() -> None:
    generator = np.random.default_rng(0)
    one, other = Balancer((64, 64), 2), Balancer((64, 64), 2)
    for _ in range(50):
        busy = list(np.exp(generator.normal(0, 0.5, 2)))
        shares = one.shares
        assert one.observe(shares, busy) == other.observe(shares, busy)


def test_weighted_losses_of_any_shares_have_the_mean_of_the_batch() -> None:
    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2, balance="dynamic")
    total = case.spec.global_batch
    values, targets = np.arange(float(total)), np.zeros(total)
    loss = planned_loss(lambda outputs, _: outputs.mean(), case)
    for shares in ((total // 2, total // 2), (total - 2, 2)):
        parts = [dealt(shares, rank) for rank in (0, 1)]
        found = [loss(values[part], targets[part]) for part in parts]
        assert math.isclose(float(np.mean(found)), values.mean())


def _cases(**options: object) -> list[Case]:
    base = {"framework": ["pytorch"], "workload": ["mlp"], "size": "tiny"}
    return build_matrix(validate(RunConfig, base | options), 0)


def test_a_single_device_has_nothing_to_balance() -> None:
    cases = _cases(balance=["static", "dynamic"], strategy=["single", "data"])
    assert [case.case_id for case in cases] == [
        "pytorch.single.mlp-tiny.cpu1", "pytorch.data.mlp-tiny.cpu2",
        "pytorch.data.mlp-tiny.cpu2.balance-dynamic",
    ]


@pytest.mark.parametrize(("fields", "words"), [
    ({"strategy": "inter_layer", "variant": "gpipe", "workload": "mlp"}, "no layer that could"),
    ({"workload": "resnet"}, "batch normalisation"), ({"device": "cuda"}, "CPU clocks"),
    ({"mode": "compiled"}, "compiled anew"), ({}, ""),
    ({"framework": "tensorflow", "engine": "tensorflow"}, "multi_worker gives each a process"),
])
def test_what_cannot_be_balanced_says_why(fields: dict[str, str], words: str) -> None:
    own = {"framework": "pytorch", "engine": "torch", "strategy": "data", "variant": "",
           "workload": "mlp", "device": "cpu", "mode": "eager"} | fields
    case = Case(**own, size="tiny", data="real", devices=2, balance="dynamic")  # type: ignore[arg-type]
    found = unsupported_reason(case, {own["framework"]: "python"})
    assert words in found and bool(found) == bool(words)
