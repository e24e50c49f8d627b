"""Workload facts and plans."""

from itertools import accumulate, combinations, pairwise

import numpy as np
import pytest

from suite.contract.splits.batches import batch_slice, statistics_groups
from suite.contract.splits.shards import branch_parameters, shard_axes
from suite.contract.splits.stages import balanced_cuts, stage_units, stages_of_weights
from suite.contract.workloads import (
    WORKLOADS,
    Workload,
    find_workload,
    initial_weights,
    parameter_count,
)
from suite.machine.gpu_peaks import datasheet_flops
from suite.runfolder.reading import common_peaks
from tests.convolutions import Convolutions

LEAVES = {"weight", "depthwise", "table", "scale", "bias"}
PUBLISHED = {
    ("mlp", "tiny"): 321,
    ("gpt", "gpt2"): 124_439_808,
    ("gpt", "gpt2-medium"): 354_823_168,
    ("gpt", "gpt3-xl"): 1_315_723_264,
    ("gpt", "gpt3-6.7b"): 6_658_404_352,
    ("bert", "base"): 109_514_298,
    ("bert", "large"): 335_174_458,
    ("xlnet", "base"): 116_718_336 + 32_000,  # and the bias of the logits
    ("resnet", "18"): 11_689_512,
    ("resnet", "50"): 25_557_032,
    ("resnet", "101"): 44_549_160,
    ("efficientnet", "b0"): 5_288_548,
    ("efficientnet", "b4"): 19_341_616,
}
ALL = [spec for sizes in WORKLOADS.values() for spec in sizes.values()]
CUT_POINTS = [(0,), (0, 1), (3, 7, 1), (5, 5, 5, 5), (1, 1, 9, 1, 1), (2, 8, 3, 3, 1, 7, 4)]


def _name(spec: Workload) -> str:
    return f"{spec.name}-{spec.size}"


@pytest.mark.parametrize(("key", "count"), PUBLISHED.items(), ids=str)
def test_published_parameter_counts(key: tuple[str, str], count: int) -> None:
    assert parameter_count(find_workload(*key)) == count


def test_gpt3_counts_follow_from_the_dimensions() -> None:
    for size, d, blocks in (("gpt3-xl", 2048, 24), ("gpt3-6.7b", 4096, 32)):
        block = 12 * d * d + 13 * d  # 4 + 4 + 4 matrices; 4 norms, 4 + 4 + 1 biases of width d
        expected = (50257 + 2048) * d + blocks * block + 2 * d
        assert parameter_count(find_workload("gpt", size)) == expected


@pytest.mark.parametrize(
    ("name", "size", "giga"),
    [("resnet", "18", 1.814), ("resnet", "50", 4.089), ("resnet", "101", 7.801),
     ("efficientnet", "b0", 0.386), ("efficientnet", "b4", 4.394)],
)
def test_image_models_have_the_multiply_adds_of_torchvision(
    name: str, size: str, giga: float
) -> None:
    """What its model cards call GFLOPS counts a multiplication and an addition as one."""
    flops = sum(find_workload(name, size).unit_flops().values())
    assert flops / 2e9 == pytest.approx(giga, abs=6e-4)


def test_gpt_flops_are_those_of_kaplan() -> None:
    spec = find_workload("gpt", "gpt2")
    matrices = 12 * 12 * 768**2 + 768 * 50257
    expected = 6.0 * matrices * 1024 + 12.0 * 12 * 768 * 1024**2
    assert spec.flops_per_sample() == expected


def test_same_seed_same_weights() -> None:
    spec = find_workload("gpt", "tiny")
    first, again, other = (initial_weights(spec, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(first[name].shape == shape for name, shape in spec.shapes().items())
    assert not np.array_equal(first["embed.token.table"], other["embed.token.table"])


@pytest.mark.parametrize("spec", ALL, ids=_name)
def test_a_spec_is_whole(spec: Workload) -> None:
    """Every parameter has a place in the pipeline, every split an axis, every name a known leaf."""
    shapes, units = spec.shapes(), spec.units()
    words = {name.split(".")[0] for name in shapes}
    assert list(dict.fromkeys(name.split(".")[0] for name in shapes if name.split(".")[0] in units)
                ) == units
    assert words - set(units) == {part.split(".")[0] for part in spec.ends()}
    assert {name.rpartition(".")[2] for name in shapes} <= LEAVES
    assert stages_of_weights(spec, 1).keys() == shapes.keys()
    assert all(cost > 0 for cost in spec.unit_flops().values())
    for number in range(1, len(units)):
        assert all(spec.boundary(number))


@pytest.mark.parametrize("spec", ALL, ids=_name)
def test_branches_name_what_there_is(spec: Workload) -> None:
    shapes, axes = spec.shapes(), shard_axes(spec)
    split = [name for branch in spec.branches() for name in branch_parameters(spec, branch)]
    assert sorted(split) == sorted(axes) and len(split) == len(set(split))
    for branch in spec.branches():
        middle = (branch.middle.row, branch.middle.column) if branch.middle else ()
        for layer in (*branch.columns, branch.row, *middle):
            assert f"{layer}.weight" in shapes
        for layer in branch.channels:
            assert any(name.rpartition(".")[0] == layer for name in axes)
        for column in branch.columns:
            assert axes[f"{column}.weight"] == len(shapes[f"{column}.weight"]) - 1
        assert axes[f"{branch.row}.weight"] == len(shapes[f"{branch.row}.weight"]) - 2
        assert f"{branch.row}.bias" not in axes


@pytest.mark.parametrize("costs", CUT_POINTS)
def test_cuts_are_the_best_of_all(costs: tuple[int, ...]) -> None:
    for stages in range(1, len(costs) + 1):
        found = balanced_cuts(costs, stages)
        assert sum(found) == len(costs) and len(found) == stages and min(found) > 0
        cuts = combinations(range(1, len(costs)), stages - 1)
        best = min(_largest(costs, (0, *inner, len(costs))) for inner in cuts)
        assert _largest(costs, (0, *accumulate(found))) == best


def _largest(costs: tuple[int, ...], edges: tuple[int, ...]) -> int:
    return max(sum(costs[start:end]) for start, end in pairwise(edges))


def test_equal_units_are_shared_out_with_the_longer_groups_first() -> None:
    assert balanced_cuts([1.0] * 5, 2) == [3, 2] and balanced_cuts([1.0], 3) == [1, 0, 0]
    assert [len(group) for group in stage_units(find_workload("gpt", "tiny"), 2)] == [2, 2]
    assert [len(group) for group in stage_units(find_workload("mlp", "wide"), 2)] == [2, 3]


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("spec", ALL, ids=_name)
def test_stages_cover_every_unit_once(spec: Workload, stages: int) -> None:
    stages = min(stages, len(spec.units()))
    groups = stage_units(spec, stages)
    assert [unit for group in groups for unit in group] == spec.units()
    assert all(groups)


def test_shard_axes_of_a_transformer() -> None:
    axes = shard_axes(find_workload("gpt", "tiny"))
    assert axes["block0.attention.query.weight"] == 1 and axes["block0.attention.query.bias"] == 0
    assert axes["block0.attention.project.weight"] == axes["block0.contract.weight"] == 0
    assert "block0.attention.project.bias" not in axes and "embed.token.table" not in axes


def test_shard_axes_of_kernels_channels_and_a_sum_in_the_middle() -> None:
    axes = shard_axes(Convolutions())
    assert axes == {
        "block0.expand.weight": 3, "block0.norm.scale": 0, "block0.norm.bias": 0,
        "block0.spatial.depthwise": 2, "block0.reduce.weight": 0, "block0.widen.weight": 1,
        "block0.widen.bias": 0, "block0.project.weight": 2,
    }
    assert branch_parameters(Convolutions(), Convolutions().branches()[0]) == list(axes)


@pytest.mark.parametrize(
    ("strategy", "variant", "groups"),
    [("single", "", 1), ("data", "", 2), ("intra_layer", "", 1), ("inter_layer", "gpipe", 4),
     ("inter_layer", "1f1b", 4), ("inter_layer", "naive", 1), ("inter_layer", "interleaved", 4)],
)
def test_groups_that_are_normalised_alone(strategy: str, variant: str, groups: int) -> None:
    assert statistics_groups(Convolutions(), strategy, variant, 2) == groups
    assert statistics_groups(find_workload("gpt", "tiny"), strategy, variant, 2) == 1


@pytest.mark.parametrize(
    ("strategy", "variant", "groups"),
    [("single", "", 4), ("data", "fsdp", 8), ("intra_layer", "", 4), ("inter_layer", "1f1b", 16)],
)
def test_micro_batches_are_normalised_alone(strategy: str, variant: str, groups: int) -> None:
    assert statistics_groups(Convolutions(), strategy, variant, 2, accumulate=4) == groups
    assert statistics_groups(find_workload("gpt", "tiny"), strategy, variant, 2, accumulate=4) == 1


def test_shards_are_contiguous() -> None:
    assert [batch_slice(8, 4, rank) for rank in (0, 3)] == [slice(0, 2), slice(6, 8)]


def test_datasheet_peaks_go_by_the_exact_name() -> None:
    assert datasheet_flops("NVIDIA H100 PCIe")["float32"] == 51e12
    assert datasheet_flops("NVIDIA H100 80GB HBM3")["bf16"] == 989.4e12
    assert datasheet_flops("NVIDIA A100-SXM4-80GB")["tf32"] == 156e12
    assert datasheet_flops("NVIDIA L40S")["float32"] == 91.6e12
    assert "bf16" not in datasheet_flops("Tesla V100-SXM2-16GB")
    assert datasheet_flops("NVIDIA H100 NVL")["bf16"] == 835.5e12
    for other in ("Some Card 9000", "NVIDIA GeForce RTX 4090 Laptop GPU", "GeForce RTX 4090 D"):
        assert datasheet_flops(other) == {}


def test_peaks_are_of_gpus_of_one_model() -> None:
    h200, t4 = ({"name": name, "datasheet_flops_s": datasheet_flops(name)}
                for name in ("NVIDIA H200", "Tesla T4"))
    assert common_peaks({"gpu_models": [h200, h200]})["bf16"] == 989.4e12
    assert common_peaks({"gpu_models": [h200, t4]}) == common_peaks({}) == {}


def test_encodings_of_distances() -> None:
    spec = find_workload("xlnet", "tiny")
    table = spec.encodings()
    assert table.shape == (2 * spec.sequence, spec.width)
    zero = table[spec.sequence]
    assert (zero[:32] == 0).all() and (zero[32:] == 1).all()
    assert table[spec.sequence - 3][0] == pytest.approx(np.sin(3.0))
