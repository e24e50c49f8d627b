"""What published programs do: their devices, links, recomputation and number formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.foresight.compute import product_seconds, unit_times
from suite.foresight.fitting import MEDIANS, Base, from_datasheet, stack_of
from suite.foresight.hardware import find_device
from suite.foresight.judgement import goal_of
from suite.foresight.judging import STEP, judge_stack, software_of, step_predictor
from suite.foresight.machine import Link, Machine, Software, Stack
from suite.foresight.other_tables import judge_memory
from suite.foresight.plans import SELECTIVE, Plan, plans_of
from suite.foresight.published import Published, steps
from suite.foresight.transformer import EAGER_NORM, EAGER_ROTATION, Transformer, block
from suite.foresight.units import Product, Unit

ROWS = steps()[0]
LINK = Link(0.0, 1.0)
# One FLOP a second, and memory that never limits; and the other way round.
COMPUTING = Machine("", 1.0, 0.0, 0.0, 1e30, 0.0, LINK, LINK, 8.0, 0.0)
STREAMING = replace(COMPUTING, product_flops_s=1e30, stream_bytes_s=1.0)
LLAMA = Transformer(1, 8, 2, 4, 64, 24, key_value_heads=1, gated=1.0, fused_attention=1.0)


def _rows(source: str, **found: str) -> list[Published]:
    return [row for row in ROWS if row.source.startswith(source)
            and all(words in row.row[name] for name, words in found.items())]


def _again_s(unit: Unit, machine: Machine, software: Software) -> float:
    """Seconds of a backward pass beyond twice the forward pass: what is computed again."""
    times = unit_times(unit, plans_of([Plan(recompute=SELECTIVE)]), Stack(machine, software))
    return float((times.backward_s - 2.0 * times.forward_s)[0])


def test_every_second_product_is_computed_again_and_no_attention() -> None:
    """Of queries, keys, values, output, gate, up and down: keys, output and up."""
    again = _again_s(block(LLAMA), COMPUTING, Software(alternate_products=1.0))
    keys, output, up = 8 * 4, 8 * 8, 8 * 24
    assert again == pytest.approx(2.0 * 4 * (keys + output + up))
    attention = _again_s(block(LLAMA), COMPUTING, Software())
    assert attention == pytest.approx(2 * 2.0 * 4 * 4 * 8)


def test_a_share_of_the_products_is_computed_again_beside_attention() -> None:
    """Of a block without a gate the first of the feed-forward part's products is a third of all."""
    unit = block(replace(LLAMA, gated=0.0, feed_forward=32, key_value_heads=2))
    first, attention = unit.products[4], unit.products[1:3]
    again = _again_s(unit, COMPUTING, Software(selective_products=1 / 3))
    one = Unit("again", 1, products=(first, *attention))
    assert again == pytest.approx(float(one.flops()))


def test_paxml_attends_without_a_kernel_and_recomputes_for_its_large_model() -> None:
    small, large = (_rows("DGXC", table=f"Paxml GPT{size}")[0] for size in ("5B", "175B"))
    assert small.shape.fused_attention == large.shape.fused_attention == 0.0
    assert (small.plan.recompute, large.plan.recompute) == (0.0, SELECTIVE)
    assert large.program.base.software.attention_backward == 2.0


def test_every_second_block_is_half_a_forward_pass() -> None:
    unit, software = block(LLAMA), Software(selective_blocks=0.5)
    assert _again_s(unit, COMPUTING, software) == pytest.approx(0.5 * float(unit.flops()))


def test_eight_bit_leaves_attention_and_head_in_sixteen() -> None:
    eight = stack_of(Base(find_device("H100 SXM"), "fp8", 8.0, Software()), MEDIANS).machine
    assert eight.sixteen_bit_share == 0.5
    plain = Product(1e5, 1e5, 1e5)
    seconds, wide = (product_seconds(replace(plain, sixteen_bit=stays), 1.0, 1.0, eight, 2.0)
                     for stays in (False, True))
    assert wide == pytest.approx(2.0 * seconds)
    sixteen = stack_of(Base(find_device("H100 SXM"), "bf16", 8.0, Software()), MEDIANS).machine
    assert sixteen.sixteen_bit_share == 1.0
    stays = [product.sixteen_bit for product in block(LLAMA).products]
    assert stays == [product.samples_in_count for product in block(LLAMA).products]


def test_attention_starts_from_the_rate_of_the_program() -> None:
    device = find_device("A100 SXM 80GB")
    shares = [from_datasheet(Base(device, "bf16", 8.0, Software(attention_rate=rate)))
              .stack.machine.attention_share for rate in (1.0, 1.3)]
    assert shares[1] == pytest.approx(1.3 * shares[0])


def test_a_kernel_that_keeps_no_scores_makes_five_products_backward() -> None:
    """Of a unit that is attention alone: 2.5 times the forward pass, which has two products."""
    scores = [product for product in block(LLAMA).products if product.samples_in_count]
    assert len(scores) == 2
    unit = Unit("attention", 1, products=tuple(scores))
    ratios = [float((times.backward_s / times.forward_s)[0]) for times in (
        unit_times(unit, plans_of([Plan()]), Stack(COMPUTING, software)) for software in (
            Software(), _rows("LLM-Foundry")[0].program.base.software))]
    assert ratios == pytest.approx([2.0, 2.5])
    rows = [row for row in ROWS if row.shape.fused_attention]
    assert {row.program.base.software.attention_backward for row in rows} == {2.5}


def test_norms_and_positions_without_a_compiler_stream_what_they_cast() -> None:
    fused, eager = block(LLAMA), block(replace(LLAMA, eager=1.0))
    assert eager.streamed - fused.streamed == pytest.approx(2 * EAGER_NORM * 4 * 8)
    assert eager.streamed_split - fused.streamed_split == pytest.approx(
        EAGER_ROTATION * 4 * (8 + 4))
    cast = block(replace(LLAMA, cast=1.0))
    assert cast.streamed_split - fused.streamed_split == pytest.approx(2.5 * 4 * (3 * 8 + 24))
    times = [unit_times(unit, plans_of([Plan()]), Stack(STREAMING)).forward_s
             for unit in (fused, eager)]
    assert times[1] > 1.5 * times[0]


def test_each_row_has_its_own_software() -> None:
    """Shards' sums are hidden in the rows of asynchronous tensor parallelism only."""
    rows = _rows("torchtitan 2024-12", model="70B")
    hidden = software_of(rows).overlaps_hidden_sums
    np.testing.assert_array_equal(hidden, ["async TP" in row.row["note"] for row in rows]
                                  * np.array(0.7))
    assert len(set(np.asarray(hidden))) == 2
    alike = [replace(row, plan=rows[0].plan) for row in rows]
    seconds = step_predictor(alike)(from_datasheet(rows[0].program.base).stack)
    assert seconds[int(np.argmax(hidden))] < seconds[int(np.argmin(hidden))]
    assert software_of(_rows("Megatron-LM SC21")).overlaps_hidden_sums == 0.0


def test_two_programs_of_one_name_share_no_calibration() -> None:
    """NeMo of 2024 trains GPT-3 and its successor the others, in one collection of recipes."""
    older = {row.stack for row in _rows("DGXC", table="NeMo Megatron")}
    newer = {row.stack for name in ("Llama 3.1", "Nemotron4") for row in _rows("DGXC", table=name)}
    assert all(name.startswith("NeMo 1, ") for name in older)
    assert newer and not older & newer
    assert older & {row.stack for row in _rows("NeMo performance summary 2024-08")}
    assert all(row.plan.sequence_parallel for row in _rows("DGXC", table="NeMo Megatron"))


def test_devices_and_links_are_those_that_the_tables_state() -> None:
    slower = _rows("torchtitan 2024-12")[0].program.base.device
    assert (slower.memory_bytes_s, slower.memory_bytes) == (2.4e12, 96e9)
    # At 500 W its products reach 0.6 of a datasheet for 700 W, and its kernels 0.92 of its memory.
    machine = from_datasheet(_rows("torchtitan 2024-12")[0].program.base).stack.machine
    assert machine.product_flops_s == pytest.approx(0.6 * 989e12)
    assert machine.stream_bytes_s == pytest.approx(0.92 * 2.4e12)
    usual = from_datasheet(Base(find_device("H100 SXM"), "bf16", 8.0, Software())).stack.machine
    assert usual.product_flops_s == pytest.approx(0.75 * 989e12)
    # 800 Gb/s a node of eight; a table that states none has the datasheet's 25 GB/s.
    assert _rows("vTrain")[0].program.base.device.between_bytes_s == pytest.approx(12.5e9)
    assert _rows("Megatron-LM SC21")[0].program.base.device.between_bytes_s == 25e9


@pytest.mark.parametrize("source", ["Alpa", "torchtitan"])
def test_peaks_of_programs_whose_source_says_what_they_hold(source: str) -> None:
    peaks = [f for f in judge_memory()
             if f.source.startswith(source) and f.quantity == "memory, peak"]
    error = np.mean([abs(f.error) for f in peaks])
    assert len(peaks) == 8 and error < goal_of(source, "memory, peak")


def test_torchtitan_at_500_watts_meets_its_goal() -> None:
    stacks = {row.stack for row in _rows("torchtitan 2024-12")}
    figures = [f for name in stacks for f in judge_stack([r for r in ROWS if r.stack == name])
               if f.source == "torchtitan 2024-12"]
    assert len(figures) == 5
    assert np.mean([abs(f.error) for f in figures]) < goal_of("torchtitan 2024-12", STEP)
