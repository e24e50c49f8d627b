"""The comparison with plain scripts finds a planted ratio, and its scripts cover every cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.spec.case import Case
from tests.reference.__main__ import Comparison, cases, compare, summarise
from tests.reference.pair import COUNTED, WARMUP, alternate, script_name


def _seconds(ratio: float, generator: np.random.Generator, rounds: int = 15) -> np.ndarray:
    """(ranks, blocks, steps) with 5 % noise a step, a drift of 30 % and one rank that waits."""
    base = 0.05 * np.linspace(1.0, 1.3, 4 * rounds)[:, None]
    scale = np.tile([ratio, 1.0, 1.0, ratio], rounds)[:, None]
    slow = base * scale * (1 + 0.05 * generator.standard_normal((4 * rounds, COUNTED)))
    return np.stack([slow, slow * 0.9])


@pytest.mark.parametrize("ratio", [0.97, 1.0, 1.03, 1.1])
def test_planted_ratio_is_found(ratio: float) -> None:
    found = [compare(_seconds(ratio, np.random.default_rng(seed))) for seed in range(40)]
    assert np.mean([each.low <= ratio <= each.high for each in found]) >= 0.85
    assert np.median([each.ratio for each in found]) == pytest.approx(ratio, rel=0.01)
    assert max(each.high - each.low for each in found) < 0.08


def test_launches_are_the_replicates() -> None:
    found = [Comparison(1.0, 1.0, ratio, ratio - 0.01, ratio + 0.01) for ratio in (1.0, 1.04, 1.02)]
    assert summarise(found) == Comparison(1.0, 1.0, 1.02, 1.0, 1.04)
    assert summarise(found[:1]) == found[0]


def test_the_slowest_rank_counts() -> None:
    found = compare(_seconds(1.0, np.random.default_rng(0))[::-1])
    assert found.plain_s > 0.05


def test_sides_take_turns(fake: Case) -> None:
    calls: list[str] = []
    blocks = alternate(
        replace(fake, steps=2 * 2 * COUNTED),
        lambda: calls.append("adapter"),
        lambda: calls.append("plain"),
        bool,
    )
    turns = calls[2 * (WARMUP + 1) :: COUNTED + 1]  # a block starts with a step that is not counted
    assert turns == ["adapter", "plain", "plain", "adapter"] * 2
    assert [len(block) for block in blocks] == [COUNTED] * 8


def test_every_cell_has_a_script() -> None:
    folder = Path(__file__).parent / "reference"
    missing = [script_name(case) for case in cases(1)
               if not (folder / f"{script_name(case)}.py").is_file()]
    assert not missing
