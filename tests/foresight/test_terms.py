"""Each term against a truth that is known without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.contract.splits.schedule import ideal_bubble, pipeline_order
from suite.contract.workloads import find_workload
from suite.foresight.collectives import (
    all_gather_seconds,
    all_reduce_seconds,
    all_reduce_wire_bytes,
    group_link,
)
from suite.foresight.compute import efficiency, host_and_device, product_seconds
from suite.foresight.machine import FLOAT32, Link, Machine, Software, Stack
from suite.foresight.pipeline import (
    blocking_share,
    chunked_seconds,
    pipeline_seconds,
    simulate,
)
from suite.foresight.plans import Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.sharded import beside, copy_seconds, exposed_gradient_seconds
from suite.foresight.units import Product
from suite.foresight.workloads import model_of_workload

MACHINE = Machine(
    "test", product_flops_s=1e12, ramp_s=1e-6, narrow=0.0, stream_bytes_s=1e11, launch_s=1e-6,
    inside=Link(1e-6, 1e11), between=Link(1e-5, 1e10), devices_per_node=8, memory_bytes=1e10,
)
NO_HOP = np.zeros(1)


def _even(stages: int) -> np.ndarray:
    return np.ones((1, stages))


def test_half_the_rate_is_reached_at_the_half_work() -> None:
    assert efficiency(5.0, 5.0) == 0.5
    product = Product(1000.0, 1000.0, 1000.0)
    assert product_seconds(product, 1.0, 1.0, MACHINE, 2.0) == pytest.approx(2e9 / 1e12 + 1e-6)


def test_a_thin_product_is_bound_by_memory() -> None:
    thin = Product(1.0, 10_000.0, 10_000.0)  # 2e8 FLOPs over 2e8 bytes of weights
    assert product_seconds(thin, 1.0, 1.0, MACHINE, 2.0) == pytest.approx(2e-3, rel=0.01)


def test_shards_divide_the_length_that_they_split() -> None:
    whole = Product(1024.0, 1024.0, 4096.0, split="outer")
    quarter = Product(1024.0, 1024.0, 1024.0)
    assert product_seconds(whole, 2.0, 4.0, MACHINE, 2.0) == product_seconds(
        quarter, 2.0, 1.0, MACHINE, 2.0)


def test_the_host_is_the_bottleneck_of_small_work_and_only_there() -> None:
    slow, fast = np.array([1.0]), np.array([0.01])
    assert host_and_device(fast, slow) == pytest.approx(1.0, rel=1e-3)
    assert host_and_device(slow, fast) == pytest.approx(1.0, rel=1e-3)
    assert host_and_device(slow, slow) == pytest.approx(2.0 ** (1 / 6))


def test_a_ring_moves_twice_all_but_one_share() -> None:
    assert all_reduce_wire_bytes(100.0, 4.0) == 150.0
    no_delay = Link(0.0, 1.0)
    assert all_reduce_seconds(100.0, 4.0, no_delay) == 150.0
    assert all_gather_seconds(100.0, 4.0, no_delay) == 75.0
    assert all_reduce_seconds(100.0, 1.0, no_delay) == 0.0


def test_small_messages_take_the_tree() -> None:
    delay = Link(1.0, 1e9)
    assert all_reduce_seconds(1.0, 1024.0, delay) == pytest.approx(20.0)


def test_the_link_is_chosen_by_whether_the_group_leaves_the_node() -> None:
    inside = group_link(MACHINE, np.array([8.0]), np.array([1.0]), np.array([16.0]))
    assert inside.bytes_s == 1e11 and inside.latency_s == 1e-6
    alone = group_link(MACHINE, np.array([16.0]), np.array([1.0]), np.array([16.0]))
    assert alone.bytes_s == 8e10 and alone.latency_s == 1e-5
    # Eight groups pass through every node, so each has one device's share of its network cards.
    shared = group_link(MACHINE, np.array([2.0]), np.array([8.0]), np.array([16.0]))
    assert shared.bytes_s == 1e10


def test_a_ring_over_nodes_has_few_hops_between_them() -> None:
    """Sixteen ranks on two nodes: one hop of a gather enters the other node, fourteen stay."""
    link = group_link(MACHINE, np.array([16.0]), np.array([1.0]), np.array([16.0]))
    assert all_gather_seconds(0.0, np.array([16.0]), link) == pytest.approx(14 * 1e-6 + 1e-5)
    # Two ranks a node of eight, whose others belong to other groups.
    apart = group_link(MACHINE, np.array([8.0]), np.array([4.0]), np.array([32.0]))
    assert all_gather_seconds(0.0, np.array([8.0]), apart) == pytest.approx(4 * 1e-6 + 3 * 1e-5)


def test_a_gather_of_many_has_no_tree() -> None:
    link = group_link(MACHINE, np.array([1024.0]), np.array([1.0]), np.array([1024.0]))
    size = np.array([1024.0])
    assert all_gather_seconds(0.0, size, link) == pytest.approx(896 * 1e-6 + 127 * 1e-5)
    assert all_reduce_seconds(0.0, size, link) == pytest.approx(2 * (3 * 1e-6 + 7 * 1e-5))


def test_a_tree_over_two_nodes_crosses_the_network_once() -> None:
    """8e10 bytes at 8e10 a second for all cards of a node; a ring needs 15/16 twice."""
    free = replace(MACHINE, inside=Link(0.0, 1e15), between=Link(0.0, 1e10))
    two, four = (
        all_reduce_seconds(8e10, np.array([n]), group_link(
            free, np.array([n]), np.array([1.0]), np.array([n])))[0] for n in (16.0, 32.0))
    assert two == pytest.approx(1.0)
    assert four == pytest.approx(2.0 * 31 / 32)
    # Inside the nodes the tree goes up and down over the same links.
    slow = group_link(MACHINE, np.array([16.0]), np.array([1.0]), np.array([16.0]))
    assert all_reduce_seconds(8e10, np.array([16.0]), slow) == pytest.approx(1.6, rel=1e-3)


@pytest.mark.parametrize(("devices", "parts"), [(2, 8), (4, 8), (4, 16), (3, 9)])
def test_a_device_waits_for_hops_until_its_pipeline_is_full(devices: int, parts: int) -> None:
    """Passes before the first backward one are counted in the order that the adapters run."""
    order = pipeline_order("interleaved", 0, devices, parts)
    first = next(place for place, work in enumerate(order) if work[1] == "backward")
    plans = plans_of([Plan(stages=devices, micro_batches=parts, schedule="interleaved", chunks=2)])
    share = blocking_share(plans, parts, "interleaved", Software(steady_hops=1.0))
    # The last of them already runs beside a backward pass.
    assert share[0] * parts * 2 == pytest.approx(first - 1)
    assert blocking_share(plans, parts, "interleaved", Software())[0] == 1.0
    assert blocking_share(plans, parts, "1f1b", Software(steady_hops=1.0))[0] == 1.0


def test_copies_around_gathers_are_streamed_where_parameters_are_sharded() -> None:
    software = Software(gather_copy_bytes=4.0, scatter_copy_bytes=6.0)
    plans = plans_of([Plan(replicas=8, sharding=3.0), Plan(replicas=8)])
    forward, backward = copy_seconds(1e9, plans, 1e12, software)
    np.testing.assert_allclose(forward, [4e-3, 0.0])
    np.testing.assert_allclose(backward, [10e-3, 0.0])
    model = model_of_workload(find_workload("gpt", "small"))
    with_copies, without = (predict(model, plans, Stack(MACHINE, one)).compute_s
                            for one in (software, Software()))
    assert with_copies[0] > without[0] and with_copies[1] == without[1]


@pytest.mark.parametrize("stages", [2, 3, 4, 8])
@pytest.mark.parametrize("parts", [4, 8, 24])
@pytest.mark.parametrize("variant", ["gpipe", "1f1b"])
def test_the_bubble_of_even_stages_is_the_ideal_one(
    variant: str, stages: int, parts: int
) -> None:
    step = simulate(variant, _even(stages), 2.0 * _even(stages), NO_HOP, parts)[0]
    assert 1.0 - 3.0 * parts / step == pytest.approx(ideal_bubble(variant, stages, parts))


def test_a_planted_slow_stage_paces_the_pipeline() -> None:
    forward = np.array([[1.0, 1.0, 2.0, 1.0]])
    few = simulate("gpipe", forward, 2.0 * forward, NO_HOP, 8)[0]
    # A flow shop of equal jobs: all stages once, and the slowest once more for each other job.
    assert few == 3.0 * (5.0 + 7 * 2.0)


@pytest.mark.parametrize("variant", ["gpipe", "1f1b", "interleaved"])
def test_many_micro_batches_continue_at_the_steady_pace(variant: str) -> None:
    stages = 4
    width = stages * (2 if variant == "interleaved" else 1)
    rng = np.random.default_rng(1)
    forward = rng.uniform(0.8, 1.2, (3, width))
    hop = np.full(3, 0.05)
    whole = simulate(variant, forward, 2.0 * forward, hop, 64)
    np.testing.assert_allclose(
        pipeline_seconds(variant, forward, 2.0 * forward, hop, 64), whole, rtol=0.01)


def test_arrays_and_single_numbers_replay_alike() -> None:
    forward = np.random.default_rng(2).uniform(0.5, 1.5, (20, 3))
    hop = np.full(20, 0.1)
    together = simulate("1f1b", forward, 2.0 * forward, hop, 6)
    alone = [simulate("1f1b", forward[i : i + 1], 2.0 * forward[i : i + 1], hop[:1], 6)[0]
             for i in range(20)]
    np.testing.assert_allclose(together, alone)


def test_chunks_divide_the_bubble() -> None:
    one = chunked_seconds(_even(4), 2.0 * _even(4), NO_HOP, 8, np.ones(1))[0]
    two = chunked_seconds(_even(4), 2.0 * _even(4), NO_HOP, 8, np.full(1, 2.0))[0]
    assert one - 24.0 == pytest.approx(9.0) and two - 24.0 == pytest.approx(4.5)


def test_only_what_outlasts_the_compute_is_exposed() -> None:
    compute, communication = np.array([10.0, 1.0]), np.array([4.0, 5.0])
    total, exposed = beside(compute, communication, 1.0)
    np.testing.assert_allclose(total, [10.0, 5.0])
    np.testing.assert_allclose(exposed, [0.0, 4.0])
    slowed, _ = beside(compute, communication, 1.5)
    assert slowed[0] == 12.0


def test_the_last_bucket_is_never_hidden() -> None:
    exposed = exposed_gradient_seconds(np.array([8.0]), np.array([100.0]), 1.0)
    assert exposed == pytest.approx(1.0)
    assert exposed_gradient_seconds(np.array([8.0]), np.array([100.0]), 0.0) == 8.0


def test_a_slow_backward_pass_hides_less_of_a_reduction_that_it_slows() -> None:
    """In 6 s of computing, a reduction that then takes three times as long does 2 s of its work."""
    reduction, backward = np.array([8.0]), np.array([6.0])
    assert exposed_gradient_seconds(reduction, backward, 1.0, 3.0) == pytest.approx(6.0)
    assert exposed_gradient_seconds(reduction, backward, 1.0) == pytest.approx(2.0)


def test_what_is_in_flight_beside_compute_is_there_for_longer() -> None:
    """T_comm grows with it; the step only by what the compute loses meanwhile."""
    model, plans = model_of_workload(find_workload("gpt", "small")), plans_of(
        [Plan(replicas=2, micro_batch=4)])
    link = Link(1e-5, 2e9)
    machine = Machine("planted", 1e11, 1e-6, 0.1, 2e10, 3e-6, link, link, 2, 0, contention=1.0,
                      synchronous=True)
    once, thrice = (predict(model, plans, Stack(replace(machine, call_slowdown=slower), FLOAT32))
                    for slower in (1.0, 3.0))
    hidden = once.communication_s - once.exposed_s
    assert hidden > 0
    np.testing.assert_allclose(thrice.communication_s, once.communication_s + 2.0 * hidden)
    np.testing.assert_allclose(thrice.step_s, once.step_s)


def test_a_faster_link_never_makes_a_group_slower() -> None:
    faster = replace(MACHINE, between=Link(1e-5, 2e10))
    size, stride, devices = np.array([16.0]), np.array([2.0]), np.array([32.0])
    slow = all_reduce_seconds(1e9, size, group_link(MACHINE, size, stride, devices))
    assert all_reduce_seconds(1e9, size, group_link(faster, size, stride, devices)) < slow
