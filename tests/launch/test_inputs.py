"""Real data, offline, and a user's own file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.contract.errors import UsageError
from suite.contract.workloads import WORKLOADS, Workload, find_workload
from suite.contract.workloads.workload import Field
from suite.launch.inputs import MAXIMUM_BATCHES, REAL, batches_of, load_data

SMALL = [
    spec for sizes in WORKLOADS.values() for size, spec in sizes.items()
    if size in ("tiny", "small", "wide", "base")
]


def _within(values: np.ndarray, field: Field) -> bool:
    """Of the shape, the type and the range that a user's file is held to."""
    fits = values.shape[1:] == field.shape and values.dtype == field.dtype
    if not field.classes:
        return fits and bool(np.isfinite(values).all())
    return fits and field.lowest <= values.min() and values.max() < field.classes


@pytest.mark.parametrize("source", ["real", "synthetic"])
@pytest.mark.parametrize("spec", SMALL, ids=lambda s: f"{s.name}-{s.size}")
def test_whole_batches_of_the_right_shape(spec: Workload, source: str) -> None:
    features, targets = load_data(spec, source, 0)
    assert len(features) == len(targets) >= spec.global_batch
    assert _within(features, spec.features) and _within(targets, spec.targets)
    again, _ = load_data(spec, source, 0)
    other, _ = load_data(spec, source, 1)
    assert np.array_equal(features, again) and not np.array_equal(features, other)


def test_next_byte_is_the_target() -> None:
    spec = find_workload("gpt", "tiny")
    features, targets = load_data(spec, "real", 0)
    assert np.array_equal(features[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("source", ["real", "synthetic"])
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_masked_tokens(size: str, source: str) -> None:
    spec = find_workload("bert", size)
    features, targets = load_data(spec, source, 0)
    predicted = targets >= 0
    assert (predicted.sum(1) == round(0.15 * spec.tokens_per_sample)).all()
    masked = features == spec.mask
    assert not masked[~predicted].any() and not (targets == spec.mask).any()
    assert masked[predicted].mean() == pytest.approx(0.8, abs=0.1)
    assert (features == targets)[predicted].mean() == pytest.approx(0.1, abs=0.1)


def test_a_byte_is_never_the_mask() -> None:
    spec = replace(find_workload("bert", "tiny"), vocabulary=300, mask=103)
    features, targets = spec.examples(np.tile(np.arange(256), 40), np.random.default_rng(0))
    assert set(np.unique(targets)) <= {-1, *range(103), *range(104, 257)}


@pytest.mark.parametrize("source", ["real", "synthetic"])
def test_permuted_tokens(source: str) -> None:
    spec = find_workload("xlnet", "tiny")
    features, targets = load_data(spec, source, 0)
    tokens, order = features[:, 0], features[:, 1]
    assert (np.sort(order)[:, -5:] == np.arange(1, 6)).all() and order.max() == 5
    assert np.array_equal(order > 0, targets >= 0)
    assert np.array_equal(tokens[order > 0], targets[order > 0])
    assert len(np.unique(order.argmax(1))) > 8


def test_a_photograph_and_the_place_in_it_are_the_class() -> None:
    spec = find_workload("resnet", "tiny")
    features, targets = load_data(spec, "real", 0)
    assert set(np.unique(targets)) == set(range(10))
    # The sky over a roof is brighter than a flower's ground: classes differ, samples of one less.
    middle = np.array([features[targets == c].mean((0, 1, 2)) for c in range(10)])
    within = np.mean([np.square(x.mean((0, 1)) - middle[y]).sum()
                      for x, y in zip(features, targets, strict=True)])
    assert np.square(middle - middle.mean(0)).sum(1).mean() > within


def test_an_image_larger_than_the_photographs_is_refused() -> None:
    spec = replace(find_workload("resnet", "tiny"), image=500)
    with pytest.raises(UsageError, match="at most 427 pixels"):
        load_data(spec, "real", 0)


def test_a_data_set_that_is_not_there() -> None:
    spec = replace(find_workload("mlp", "tiny"), dataset="mine")
    with pytest.raises(UsageError, match="data set: got 'mine'"):
        load_data(spec, "real", 0)


def test_a_file_may_leave_positions_out(tmp_path: Path) -> None:
    path, spec = tmp_path / "mine.npz", find_workload("bert", "tiny")
    tokens = np.zeros((8, 32), np.int64)
    np.savez(path, features=tokens, targets=tokens - 1)
    assert load_data(spec, str(path), 0)[1].max() == -1
    np.savez(path, features=tokens - 1, targets=tokens)
    with pytest.raises(UsageError, match="features of --data: .*whole numbers from 0 to 256"):
        load_data(spec, str(path), 0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones(3)}, "arrays features and targets"),
        ({"features": np.ones((4, 7)), "targets": np.ones(4)}, "expected (samples, 30)"),
        ({"features": np.ones((4, 30)), "targets": np.ones(3)}, "4 features, 3 targets"),
        ({"features": np.ones((0, 30)), "targets": np.ones(0)}, "at least one"),
        ({"features": np.ones((4, 30)), "targets": np.full(4, 5)}, "whole numbers from 0 to 1"),
        ({"features": np.full((4, 30), np.nan), "targets": np.ones(4)}, "finite"),
        ({"features": np.full((4, 30), "x"), "targets": np.ones(4)}, "expected numbers"),
        ({"features": np.full((4, 30), None), "targets": np.ones(4)}, "allow_pickle"),
        ({"features": np.ones((4, 30), complex), "targets": np.ones(4)}, "expected numbers"),
        ({"features": np.full((4, 30), 1e308), "targets": np.ones(4)}, "float32"),
        ({"features": np.float64(3), "targets": np.ones(4)}, "samples along"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, arrays: dict, words: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(UsageError) as caught:
        load_data(find_workload("mlp", "tiny"), str(path), 0)
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [
    b"", b"PK\x03\x04", b"no archive", b"\x93NUMPY" + bytes(100),
])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="arrays features and targets"):
        load_data(find_workload("mlp", "tiny"), str(path), 0)


def test_a_file_that_was_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, features=np.random.default_rng(0).random((64, 30)),
                        targets=np.ones(64))
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:200] + bytes(300) + whole[500:]):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match="arrays features and targets"):
            load_data(find_workload("mlp", "tiny"), str(path), 0)


def test_an_archive_that_grows_beyond_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, features=np.zeros((10_000, 30)), targets=np.ones(10_000))
    monkeypatch.setattr("suite.launch.inputs.available_bytes", lambda: 1_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(UsageError, match="2.48 MB.*at most 1 MB, which is the free memory"):
        load_data(find_workload("mlp", "tiny"), str(path), 0)


def test_a_small_file_is_repeated_to_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, features=np.ones((5, 30)), targets=np.ones(5))
    features, _ = load_data(find_workload("mlp", "tiny"), str(path), 0)
    assert len(features) >= 64


def test_every_workload_has_data() -> None:
    assert all(spec.dataset for sizes in WORKLOADS.values() for spec in sizes.values())


@pytest.mark.parametrize("dataset", ["digits", "breast-cancer"])
def test_columns_of_a_table_are_centred_and_of_one_scale(dataset: str) -> None:
    width = {"digits": 64, "breast-cancer": 30}[dataset]
    spec = replace(find_workload("mlp", "tiny"), dataset=dataset, widths=(width, 8, 10))
    features, _ = REAL[dataset](spec, np.random.default_rng(0))
    assert features.mean(0) == pytest.approx(np.zeros(width), abs=1e-5)
    # Some pixels of the digits are always white: those stay at 0.
    spread = features.std(0)
    assert spread[spread > 0] == pytest.approx(np.ones((spread > 0).sum()), rel=1e-4)
    assert (spread == 0).sum() == {"digits": 3, "breast-cancer": 0}[dataset]


def test_colours_of_photographs_are_centred_and_of_one_scale() -> None:
    spec = find_workload("resnet", "tiny")
    pixels = REAL["photographs"](spec, np.random.default_rng(0))[0]
    for channel in range(3):
        assert pixels[..., channel].mean() == pytest.approx(0, abs=0.25)
        assert pixels[..., channel].std() == pytest.approx(1, abs=0.25)


def test_a_square_may_be_as_large_as_a_photograph() -> None:
    spec = replace(find_workload("resnet", "tiny"), image=427)
    assert load_data(spec, "real", 0)[0].shape[1:3] == (427, 427)


@pytest.mark.parametrize(("family", "source"), [
    ("mlp", "synthetic"), ("gpt", "synthetic"), ("resnet", "real"), ("mlp", "real"),
])
def test_at_least_as_many_batches_as_are_promised_and_no_more_than_are_used(
    family: str, source: str
) -> None:
    spec = find_workload(family, "tiny")
    count, promised = len(load_data(spec, source, 0)[0]), batches_of(spec, source)
    assert promised * spec.global_batch <= count <= MAXIMUM_BATCHES * spec.global_batch
    if source == "synthetic" or family == "resnet":
        assert count == min(promised, MAXIMUM_BATCHES) * spec.global_batch
    large = replace(spec, global_batch=1 << 14)
    assert batches_of(large, source) == promised
    if family == "mlp":
        assert len(load_data(large, source, 0)[0]) >= promised * large.global_batch


def test_values_at_the_ends_of_what_is_allowed_are_taken(tmp_path: Path) -> None:
    path, spec = tmp_path / "mine.npz", find_workload("mlp", "tiny")
    largest = float(np.finfo(np.float32).max)
    ends = np.array([0, 1, 0, 1] * 16)
    np.savez(path, features=np.full((64, 30), largest), targets=ends)
    features, targets = load_data(spec, str(path), 0)
    assert features.max() == np.float32(largest) and set(targets) == {0, 1}
    for wrong in (-1, 2, 0.5):
        np.savez(path, features=np.ones((64, 30)), targets=np.where(ends, ends, wrong))
        with pytest.raises(UsageError, match="whole numbers from 0 to 1"):
            load_data(spec, str(path), 0)


def test_a_file_as_large_as_the_free_memory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, features=np.ones((64, 30)), targets=np.ones(64))
    held = 2 * 128 + 8 * 64 * 31  # two headers and the numbers
    for free, fits in ((held, True), (held - 1, False)):
        monkeypatch.setattr("suite.launch.inputs.available_bytes", lambda free=free: free)
        if fits:
            load_data(find_workload("mlp", "tiny"), str(path), 0)
        else:
            with pytest.raises(UsageError, match="free memory"):
                load_data(find_workload("mlp", "tiny"), str(path), 0)


def test_squares_are_drawn_from_the_first_place_on() -> None:
    from sklearn.datasets import load_sample_images

    class Lowest:
        """Draws the lowest number that it may, each time."""

        def integers(self, low: int, high: int, count: int) -> np.ndarray:
            return np.full(count, low)

    workload, lowest = find_workload("resnet", "tiny"), Lowest()
    images, classes = REAL["photographs"](workload, lowest)  # type: ignore[arg-type]
    pictures = np.stack(load_sample_images().images).astype(np.float32)
    pictures = (pictures - pictures.mean((0, 1, 2))) / pictures.std((0, 1, 2))
    side = workload.features.shape[0]
    assert np.array_equal(images[0], pictures[0, :side, :side]) and not classes.any()
