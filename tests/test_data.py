"""Real data, offline, and a user's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.data import load_data
from suite.spec.errors import UsageError
from suite.spec.workloads import WORKLOADS, Workload, find_workload

SMALL = [find_workload(n, s) for n, s in (("mlp", "tiny"), ("mlp", "wide"), ("gpt", "small"))]


@pytest.mark.parametrize("source", ["real", "synthetic"])
@pytest.mark.parametrize("spec", SMALL, ids=lambda s: f"{s.name}-{s.size}")
def test_whole_batches_of_the_right_shape(spec: Workload, source: str) -> None:
    features, targets = load_data(spec, source, 0)
    assert len(features) == len(targets) >= spec.global_batch
    again, _ = load_data(spec, source, 0)
    other, _ = load_data(spec, source, 1)
    assert np.array_equal(features, again) and not np.array_equal(features, other)


def test_next_byte_is_the_target() -> None:
    spec = find_workload("gpt", "tiny")
    features, targets = load_data(spec, "real", 0)
    assert np.array_equal(features[:, 1:], targets[:, :-1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones(3)}, "arrays features and targets"),
        ({"features": np.ones((4, 7)), "targets": np.ones(4)}, "features (samples, 30)"),
        ({"features": np.ones((4, 30)), "targets": np.ones(3)}, "features (samples, 30)"),
        ({"features": np.ones((0, 30)), "targets": np.ones(0)}, "at least one sample"),
        ({"features": np.ones((4, 30)), "targets": np.full(4, 5)}, "whole numbers from 0 to 1"),
        ({"features": np.full((4, 30), np.nan), "targets": np.ones(4)}, "finite"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, arrays: dict, words: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(UsageError) as caught:
        load_data(find_workload("mlp", "tiny"), str(path), 0)
    assert words in str(caught.value)


def test_a_small_file_is_repeated_to_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, features=np.ones((5, 30)), targets=np.ones(5))
    features, _ = load_data(find_workload("mlp", "tiny"), str(path), 0)
    assert len(features) >= 64


def test_every_workload_has_data() -> None:
    assert all(spec.dataset for sizes in WORKLOADS.values() for spec in sizes.values())
