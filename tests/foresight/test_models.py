"""Models as units: counts and bytes that are published elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from suite.contract.workloads import WORKLOADS, Workload, parameter_count
from suite.foresight.machine import Link, Machine, Software, Stack
from suite.foresight.memory import (
    activation_bytes,
    held_parameters,
    in_flight,
    peak_bytes,
    state_bytes,
)
from suite.foresight.plans import FULL, SELECTIVE, Plan, plans_of
from suite.foresight.transformer import Transformer, transformer
from suite.foresight.units import parameters, training_flops
from suite.foresight.workloads import model_of_workload

SPECS = [spec for sizes in WORKLOADS.values() for spec in sizes.values()]
NOWHERE = Machine("", 1.0, 0.0, 0.0, 1.0, 0.0, Link(0.0, 1.0), Link(0.0, 1.0), 1.0, 0.0)
GPT3 = Transformer(96, 12288, 96, 2048, 51200, 4 * 12288, 96)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name}-{spec.size}")
def test_units_count_what_the_workload_counts(spec: Workload) -> None:
    model = model_of_workload(spec)
    # A transformer's final norm, positions and biases are left out of the description.
    assert parameters(model) == pytest.approx(parameter_count(spec), rel=0.12)
    assert training_flops(model) == pytest.approx(spec.flops_per_sample(), rel=0.12)


def test_gpt3_has_its_published_parameters_and_flops() -> None:
    model = transformer(GPT3)
    assert parameters(model) == pytest.approx(175e9, rel=0.01)
    # Narayanan et al. 2021, equation 3, with recomputation left out: three of its four passes.
    hidden, tokens, layers = 12288, 2048, 96
    flops = 72 * tokens * layers * hidden**2 * (
        1 + tokens / (6 * hidden) + 51200 / (16 * layers * hidden) * 4 / 3)
    assert training_flops(model) == pytest.approx(flops, rel=0.01)


def test_activations_of_a_block_follow_the_published_formula() -> None:
    """s b h (34 + 5 a s / h) bytes a layer (Korthikanti et al. 2022, equation 1)."""
    one = Transformer(1, 6144, 64, 2048, 0.0, 4 * 6144, 64)
    block = (transformer(one)[1],)
    found = activation_bytes(block, plans_of([Plan(micro_batch=4)]), Software())
    formula = 2048 * 4 * 6144 * (34 + 5 * 64 * 2048 / 6144)
    assert found[0] == pytest.approx(formula, rel=0.06)


def test_full_recompute_keeps_the_input_of_each_block() -> None:
    shape = Transformer(48, 6144, 64, 2048, 0.0, 4 * 6144, 64)
    block = (transformer(shape)[1],)
    kept, full = (activation_bytes(block, plans_of([Plan(recompute=level)]), Software())[0]
                  for level in (0.0, FULL))
    inputs = 48 * 2 * 2048 * 6144
    assert full == pytest.approx(inputs + kept / 48)


def test_zero_divides_what_it_shards() -> None:
    """16 bytes a parameter of mixed precision; the table of Rajbhandari et al. 2020, figure 1."""
    plans = plans_of([Plan(replicas=64, sharding=stage) for stage in (0, 1, 2, 3)])
    software = Software(held_gradient_bytes=2.0)
    found = state_bytes(np.full(4, 7.5e9), plans, software) / 1e9
    np.testing.assert_allclose(found, [120, 31.4, 16.6, 1.9], atol=0.05)


def test_the_first_stage_holds_as_many_micro_batches_as_the_schedule_says() -> None:
    plans = plans_of([
        Plan(stages=4, micro_batches=16, schedule=name, chunks=2)
        for name in ("gpipe", "1f1b", "interleaved")
    ])
    np.testing.assert_allclose(in_flight(plans), [16, 4, 4 * (1 + 3 / 8)])
    # Before its first backward pass: all of them; its own; one round of four chunks, and a fifth.
    np.testing.assert_allclose(in_flight(plans, "last"), [16, 1, 5 / 2])


def test_the_last_stage_is_the_fullest_where_the_loss_holds_more_than_a_micro_batch_in_flight() -> (
    None
):
    """Two stages, two blocks of width 8: a batch of 3 samples of 4 tokens has 12 V logits."""
    plans = plans_of([Plan(stages=2, micro_batches=2, micro_batch=3)])
    for vocabulary, place in ((8.0, "first"), (8e3, "last")):
        model = transformer(Transformer(2, 8, 1, 4, vocabulary, 32, 1, tied=0.0))
        software = Software(weight_bytes=0.0, held_gradient_bytes=0.0, state_bytes=0.0,
                            logit_bytes=14.0)
        stack = Stack(NOWHERE, software)
        first, last = (activation_bytes(model, plans, software, end) for end in ("first", "last"))
        assert peak_bytes(model, plans, stack) == (first if place == "first" else last)
        assert (first > last) == (place == "first")
        block = activation_bytes(model[1:2], plans, software, "last")
        assert last == pytest.approx(block + 12 * (2 * 8 * 2.0 + vocabulary * 14.0))


def test_a_tied_table_is_held_by_both_ends_of_a_pipeline() -> None:
    model = transformer(replace(GPT3, vocabulary=51200.0, tied=1.0))
    plans = plans_of([Plan(), Plan(stages=8)])
    first, last = (held_parameters(model, plans, place) for place in ("first", "last"))
    assert first[0] == last[0] == pytest.approx(parameters(model))
    assert first[1] == pytest.approx(last[1])
    assert last[1] > parameters(model) / 8


def test_selective_recompute_keeps_the_share_of_outputs_that_the_program_keeps() -> None:
    """torchtitan keeps every second product's; of width 8 the outputs are 4 (2 + 2 + 4) 8."""
    one = Transformer(1, 8, 1, 4, 0.0, 32, 1, fused_attention=1.0)
    block, plans = (transformer(one)[1],), plans_of([Plan(recompute=SELECTIVE)])
    every, second = (
        activation_bytes(block, plans, Software(selective_outputs=share)) for share in (1.0, 0.5))
    assert every - second == pytest.approx(0.5 * 2.0 * 4 * (2 + 2 + 4) * 8)


def test_parameters_of_a_stage_and_shard() -> None:
    model = transformer(GPT3)
    plans = plans_of([Plan(), Plan(shards=8, stages=8)])
    whole, part = held_parameters(model, plans, "first")
    assert whole == pytest.approx(parameters(model))
    assert part == pytest.approx(174e9 / 64, rel=0.05)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name}-{spec.size}")
def test_a_unit_sums_about_as_often_as_its_branches_end(spec: Workload) -> None:
    """The last unit too, behind which no boundary says how large an output is."""
    ends = Counter(branch.row.split(".")[0] for branch in spec.branches())
    body = [unit for unit in model_of_workload(spec) if unit.place == "body"]
    for name, unit in zip(spec.units(), body, strict=True):
        assert 0.2 * ends[name] <= float(unit.sums) <= 4.0 * ends[name] + 2.0, name
