"""Figures of single launches, from planted steps and reports of ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.analysis.launch_figures import SAMPLE_SIZE, launch_samples, step_summary
from suite.contract.case import Case
from suite.contract.records import RankRecord

MLP = Case("pytorch", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2, global_batch=40)
GPT = replace(MLP, workload="gpt")


def test_each_launch_has_its_own_figures_and_a_failed_one_none() -> None:
    launch = [RankRecord(0), RankRecord(1)]
    steps = [np.array([1.0, 2.0, 6.0]), np.array([4.0, 4.0])]
    found = launch_samples([launch, None, launch], steps, MLP)
    assert found["step_time_s"] == [2.0, None, 4.0]
    assert found["time_s"] == [9.0, None, 8.0]
    assert found["throughput_samples_s"] == [pytest.approx(40 * 3 / 9), None, 10.0]
    flops = MLP.spec.flops_per_sample()
    assert found["flops_per_s"] == [pytest.approx(flops * 120 / 9), None, flops * 10]
    assert "throughput_tokens_s" not in found
    tokens = launch_samples([launch], [np.array([2.0])], GPT)["throughput_tokens_s"]
    assert tokens == [20 * GPT.spec.tokens_per_sample]


def test_what_ranks_report_is_reduced_as_its_column_says() -> None:
    launch = [replace(RankRecord(0), peak_memory_bytes=5), replace(RankRecord(1),
                                                                   peak_memory_bytes=9)]
    assert launch_samples([launch], [np.ones(2)], MLP)["peak_memory_bytes"] == [9.0]


@pytest.mark.parametrize("count", [1, SAMPLE_SIZE, SAMPLE_SIZE + 1, 10 * SAMPLE_SIZE])
def test_quantiles_are_those_of_all_steps_and_the_sample_is_even(count: int) -> None:
    steps = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    found = step_summary(steps)
    assert found["step_quantiles_s"] == pytest.approx(
        np.quantile(steps, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]))
    chosen = found["step_sample_s"]
    assert len(chosen) == min(count, SAMPLE_SIZE)
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    places = [int(np.flatnonzero(steps == value)[0]) for value in chosen]
    gaps = np.diff(places)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1
