"""When a device is fullest, and what it holds then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.foresight.machine import Link, Machine, Software, Stack
from suite.foresight.memory import (
    block_bytes,
    held_parameters,
    kept_bytes,
    peak_bytes,
    stage_bytes,
)
from suite.foresight.plans import FULL, SELECTIVE, Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.stages import threshold_counts
from suite.foresight.transformer import Transformer, transformer
from suite.foresight.units import Unit, parameters

LINK = Link(0.0, 1.0)
SOMEWHERE = Machine("", 1.0, 0.0, 0.0, 1.0, 0.0, LINK, LINK, 8.0, 0.0)
# Nothing but activations.
ALONE = Software(
    weight_bytes=0.0, held_gradient_bytes=0.0, state_bytes=0.0, sharded_weight_bytes=0.0)


def _wide(**fields: float) -> tuple[Unit, ...]:
    return transformer(replace(Transformer(4, 8, 1, 4, 64.0, 32, 1, tied=0.0), **fields))


def _peak(model: tuple[Unit, ...], plan: Plan, software: Software) -> float:
    return float(peak_bytes(model, plans_of([plan]), Stack(SOMEWHERE, software))[0])


def test_early_stages_are_rounded_up_where_the_head_counts() -> None:
    """Costs of nanotron's models: a head of four blocks of twenty, and one of eighty blocks."""
    assert threshold_counts(16, 1.0, 4.0, 2) == [11, 5]
    assert threshold_counts(28, 1.0, 3.556, 2) == [16, 12]
    assert threshold_counts(80, 1.0, 1.103, 16)[:3] == [6, 5, 5]
    assert sum(threshold_counts(80, 1.0, 1.103, 16)) == 80
    assert threshold_counts(6, 1.0, 0.0, 1) == [6]


def test_stages_that_are_cut_by_parameters_pace_the_pipeline_and_fill_the_first_device() -> None:
    model, plans = _wide(vocabulary=512.0), plans_of([Plan(stages=2, micro_batches=8)])
    by_parameters = replace(ALONE, cuts_by_parameters=True)
    block, head = (float(unit.parameters_split) for unit in model[1:])
    assert threshold_counts(4, block, head, 2) == [4, 0]
    even, cut = (predict(model, plans, Stack(SOMEWHERE, s)) for s in (ALONE, by_parameters))
    assert cut.load_balance < even.load_balance and cut.step_s < even.step_s
    assert held_parameters(model, plans, "first", True) == pytest.approx(
        4 * (block + model[1].parameters) + model[0].parameters_split)
    assert held_parameters(model, plans, "last", True) == pytest.approx(head)


def test_gradients_that_pass_grow_while_activations_leave() -> None:
    """Whichever is more, and not their sum; two micro-batches in flight leave one behind."""
    model, passing = _wide(), replace(ALONE, held_gradient_bytes=2.0, gradients_pass=1.0)
    many, weights = Plan(micro_batch=8), 2.0 * float(parameters(model))
    assert _peak(model, many, passing) == _peak(model, many, ALONE) > weights
    few = Plan(micro_batch=0.1)
    assert _peak(model, few, passing) == pytest.approx(weights)
    standing = _peak(model, few, replace(passing, gradients_pass=0.0))
    assert standing == pytest.approx(weights + _peak(model, few, ALONE))
    beside = replace(ALONE, passing_gradient_bytes=2.0)
    assert _peak(model, few, beside) == pytest.approx(weights)


def test_logits_are_gone_before_a_block_is_recomputed() -> None:
    full = Plan(recompute=FULL, micro_batch=3)
    for vocabulary in (8.0, 4096.0):
        model = _wide(vocabulary=vocabulary)
        inputs = stage_bytes(model, plans_of([full]), ALONE, "first", np.ones(1))
        logits = 3 * 4 * vocabulary * ALONE.logit_bytes
        block = block_bytes(model, plans_of([full]), ALONE)
        assert _peak(model, full, ALONE) == pytest.approx(
            float((inputs - logits + np.maximum(block, logits))[0]))


def test_selective_recompute_computes_one_block_again() -> None:
    model = _wide(vocabulary=0.0, fused_attention=1.0)
    plan = Plan(recompute=SELECTIVE)
    kept = stage_bytes(model, plans_of([plan]), ALONE, "first", np.ones(1))
    one = kept_bytes(model[1], plans_of([plan]), ALONE)
    whole = block_bytes(model, plans_of([plan]), ALONE)
    assert _peak(model, plan, ALONE) == pytest.approx(float((kept + whole - one)[0]))
    more = _peak(model, plan, replace(ALONE, selective_block_outputs=1.0))
    # Four blocks keep an output of 4 tokens and width 8 more; the one at work has it anyway.
    assert more - _peak(model, plan, ALONE) == pytest.approx(3 * 2.0 * 4 * 8)


def test_buckets_of_replicas_count_where_nothing_is_sharded() -> None:
    model, software = _wide(), replace(ALONE, bucket_bytes=2.0)
    for plan, times in ((Plan(), 0), (Plan(replicas=2), 1), (Plan(replicas=2, sharding=1), 0)):
        more = _peak(model, plan, software) - _peak(model, plan, ALONE)
        assert more == pytest.approx(times * 2.0 * parameters(model))


def test_fully_sharded_ends_stay_whole_and_a_master_copy_is_the_shard() -> None:
    model, plan = _wide(), Plan(replicas=4, sharding=3)
    fsdp = replace(ALONE, weight_bytes=2.0, state_bytes=12.0)
    ends = model[0].parameters_split + model[2].parameters_split
    whole = _peak(model, plan, replace(fsdp, gathers_ends=1.0)) - _peak(model, plan, fsdp)
    assert whole == pytest.approx(2.0 * ends)
    copied = _peak(model, plan, replace(fsdp, sharded_weight_bytes=2.0)) - _peak(model, plan, fsdp)
    assert copied == pytest.approx(2.0 / 4 * parameters(model))


def test_a_model_without_dropout_keeps_no_masks() -> None:
    plans = plans_of([Plan()])
    masked, bare = (kept_bytes(_wide(dropout=share)[1], plans, ALONE) for share in (1.0, 0.0))
    assert masked - bare == pytest.approx(2.0 * 4 * 8)
