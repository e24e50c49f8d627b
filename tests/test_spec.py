"""Workload facts and plans."""

import numpy as np
import pytest

from suite.spec.errors import UsageError
from suite.spec.strategies import batch_slice, check_divides, shard_axes, stage_units
from suite.spec.workloads import find_workload, initial_weights, parameter_count


def test_textbook_net_has_321_parameters() -> None:
    assert parameter_count(find_workload("mlp", "tiny")) == 30 * 10 + 10 + 10 + 1


def test_gpt2_with_its_own_output_matrix() -> None:
    # Published 124,439,808 shares the token table; this one has a 50257 x 768 output matrix.
    assert parameter_count(find_workload("gpt", "gpt2")) == 124_439_808 + 50257 * 768


def test_same_seed_same_weights() -> None:
    spec = find_workload("gpt", "tiny")
    first, again, other = (initial_weights(spec, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_stages_cover_every_unit_once(stages: int) -> None:
    spec = find_workload("gpt", "tiny")
    groups = stage_units(spec, stages)
    assert [unit for group in groups for unit in group] == spec.units()
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_row_split_keeps_its_bias_whole() -> None:
    axes = shard_axes(find_workload("gpt", "tiny"))
    assert axes["block0.project.weight"] == 0
    assert "block0.project.bias" not in axes


def test_shards_are_contiguous() -> None:
    assert [batch_slice(8, 4, rank) for rank in (0, 3)] == [slice(0, 2), slice(6, 8)]


@pytest.mark.parametrize(
    ("strategy", "devices"), [("data", 7), ("intra_layer", 4), ("inter_layer", 3)]
)
def test_uneven_split_is_refused(strategy: str, devices: int) -> None:
    with pytest.raises(UsageError, match="devices for mlp tiny"):
        check_divides(find_workload("mlp", "tiny"), strategy, "gpipe", devices)
