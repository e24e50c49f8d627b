"""Stages of counted layers: what a batch takes, and torchgpipe's published speedups."""

from __future__ import annotations

import numpy as np
import pytest

from suite.foresight.fitting import Base, from_datasheet
from suite.foresight.hardware import find_device
from suite.foresight.judgement import goal_of
from suite.foresight.layered import (
    Layers,
    batch_seconds,
    counted,
    histogram_cut,
    judge_pipelines,
    layer_times,
)
from suite.foresight.machine import FLOAT32


def _even(count: int, hop: float = 0.0) -> Layers:
    return Layers(np.full(count, 1.0 / count), np.full(count, 2.0 / count), np.full(count, hop))


@pytest.mark.parametrize(("count", "seconds"), [(1, 4.0), (2, 3.5), (4, 3.25), (8, 3.125)])
def test_a_single_micro_batch_waits_for_the_recomputation_of_the_last_stage_only(
    count: int, seconds: float
) -> None:
    """Forward 1, backward 2, and the last stage's forward again; the others are done by then."""
    assert batch_seconds(_even(count), 1.0, 1) == pytest.approx(seconds)


def test_the_last_micro_batch_is_not_recomputed() -> None:
    assert batch_seconds(_even(1), 4.0, 4) == pytest.approx(4 * 3.0 + 3 * 1.0)


def test_gpipe_computes_the_last_micro_batch_again_too() -> None:
    assert batch_seconds(_even(1), 4.0, 4, keeps_last=False) == pytest.approx(4 * 3.0 + 4 * 1.0)


def test_gpipe_cuts_by_the_histogram_of_its_costs() -> None:
    """Shares 0.1, 0.4, 0.5, 1.0: a layer that reaches a half belongs to the second stage."""
    assert histogram_cut([1.0, 3.0, 1.0, 5.0], 2) == [2, 2]
    assert histogram_cut([1.0] * 8, 4) == [1, 2, 2, 3]


def test_many_micro_batches_go_at_the_pace_of_the_slowest_stage() -> None:
    stages = Layers(np.array([1.0, 3.0, 1.0]), np.array([2.0, 6.0, 2.0]), np.zeros(3))
    assert batch_seconds(stages, 1000.0, 1000) == pytest.approx(1000 * (3.0 * 2 + 6.0), rel=0.01)


def test_hops_delay_a_single_micro_batch_and_hide_behind_many() -> None:
    assert batch_seconds(_even(4, 0.1), 1.0, 1) == pytest.approx(3.25 + 2 * 3 * 0.1)
    without, beside = (batch_seconds(_even(4, hop), 400.0, 400) for hop in (0.0, 0.1))
    assert beside == pytest.approx(without + 2 * 3 * 0.1)


def test_stages_add_up_their_layers_and_send_what_leaves_the_last_of_them() -> None:
    layers = Layers(np.arange(1.0, 7.0), 2.0 * np.arange(1.0, 7.0), 10.0 * np.arange(1.0, 7.0))
    stages = layers.stages([1, 3, 2])
    np.testing.assert_allclose(stages.forward_s, [1, 2 + 3 + 4, 5 + 6])
    np.testing.assert_allclose(stages.backward_s, [2, 18, 22])
    np.testing.assert_allclose(stages.hop_s, [10, 40, 60])


@pytest.mark.parametrize(("model", "layers", "flops"), [
    ("ResNet-101", 370, 15.6e9),
    ("AmoebaNet-D (18, 256)", 24, 30.3e9),
    ("U-Net (5, 64)", 241, 98e9),
])
def test_counts_are_those_of_the_models(model: str, layers: int, flops: float) -> None:
    """ResNet-101 has 7.8 billion multiply-adds of an image (He et al. 2016, table 1)."""
    counts = counted(model)
    assert counts.shape == (layers, 7) and counts[:, 0].sum() == pytest.approx(flops, rel=0.01)
    assert counts[:, 3].sum() == pytest.approx(2.0 * flops, rel=0.03)


def test_a_layer_takes_what_its_product_and_its_stream_take() -> None:
    machine = from_datasheet(Base(find_device("P40"), "fp32", 8.0, FLOAT32)).stack.machine
    times, counts = layer_times("ResNet-101", machine), counted("ResNet-101")
    convolution = int(counts[:, 0].argmax())
    assert times.forward_s[convolution] == pytest.approx(
        counts[convolution, 0] / (0.75 * 12e12), rel=0.05)
    streamed = int(np.where(counts[:, 0] == 0, counts[:, 2], 0).argmax())
    assert times.forward_s[streamed] == pytest.approx(counts[streamed, 2] * 4 / (0.75 * 346e9))


def test_torchgpipe_is_predicted_by_its_own_cuts_without_calibration() -> None:
    figures = [f for f in judge_pipelines() if f.source.startswith("torchgpipe")]
    error = np.mean([abs(f.error) for f in figures])
    assert len(figures) == 11
    assert error < goal_of("torchgpipe speed", "pipeline speedup")
    assert error < 0.5 * np.mean([abs(f.baseline / f.published - 1.0) for f in figures])


def test_gpipe_is_slowed_by_stages_that_are_even_in_flops_only() -> None:
    """Its authors see "sub-linear speedup due to its imbalanced computation distribution"."""
    figures = [f for f in judge_pipelines() if f.source.startswith("GPipe")]
    assert len(figures) == 8 and np.mean([abs(f.error) for f in figures]) < 0.15
    many = next(f for f in figures if f.published == 1.84)  # four stages, 32 micro-batches
    assert many.predicted == pytest.approx(1.84, rel=0.1)
