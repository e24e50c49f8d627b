"""The comparison with plain scripts finds a planted ratio, and its scripts cover every cell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.contract.case import Case
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.stages import unit_ranges
from suite.contract.workloads import find_workload
from suite.contract.workloads.bert import BertSpec
from suite.contract.workloads.efficientnet import EfficientNetSpec
from suite.contract.workloads.mlp import MlpSpec
from suite.contract.workloads.transformer import Transformer
from suite.contract.workloads.xlnet import XLNetSpec
from tests.reference import common, pair
from tests.reference.__main__ import SIZES, Comparison, arguments, cases, compare, summarise
from tests.reference.pair import (
    COUNTED,
    FEWER,
    LEAST_ROUNDS,
    LEAST_WARMUP,
    WARMUP,
    alternate,
    script_name,
)

FOLDER = Path(__file__).parent / "reference"


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
    turns = calls[2 * WARMUP :: COUNTED + 1]  # a block starts with a step that is not counted
    assert turns == ["adapter", "plain", "plain", "adapter"] * 2
    assert [len(block) for block in blocks] == [COUNTED] * 8


def test_sides_that_are_slow_take_fewer_steps_and_rounds(
    fake: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time at all still enough of each for an interval; ranks agree on every number."""
    monkeypatch.setenv("PAIR_SECONDS", "0")
    monkeypatch.setattr(pair, "LONG_STEP_S", 0.0)
    calls: list[str] = []
    questions: list[bool] = []

    def agree(ready: bool) -> bool:
        questions.append(ready)
        return ready

    blocks = alternate(replace(fake, steps=100 * COUNTED), lambda: calls.append("adapter"),
                       lambda: calls.append("plain"), agree)
    assert [len(block) for block in blocks] == [FEWER] * 4 * LEAST_ROUNDS
    assert calls[: 2 * LEAST_WARMUP] == ["adapter"] * LEAST_WARMUP + ["plain"] * LEAST_WARMUP
    assert questions == [False] * 4
    interval = compare(np.ones((1, 4 * LEAST_ROUNDS, FEWER)))
    assert np.isfinite([interval.low, interval.high]).all()


@pytest.mark.parametrize("workload", SIZES)
def test_every_cell_has_a_script(workload: str) -> None:
    missing = [script_name(case) for case in cases(1, workload)
               if not (FOLDER / f"{script_name(case)}.py").is_file()]
    assert not missing


def test_the_plain_side_knows_nothing_of_the_suite() -> None:
    ours = {"__main__", "pair", "losses", "table"}
    found = {
        path.stem for path in FOLDER.rglob("*.py")
        if re.search(r"^\s*(from|import) (adapters|suite)\b", path.read_text(), re.MULTILINE)
    }
    assert found == ours


@pytest.mark.parametrize("workload", SIZES)
def test_both_sides_have_the_same_batch_and_cut(workload: str) -> None:
    spec = find_workload(workload, SIZES[workload])
    assert spec.global_batch == common.BATCH[workload]
    assert spec.optimizer.learning_rate == common.RATE[workload]
    for array, field in zip(common.batch(workload), (spec.features, spec.targets), strict=True):
        assert array.shape == (spec.global_batch, *field.shape) and array.dtype == field.dtype
        assert not field.classes or field.lowest <= array.min() and array.max() < field.classes
    first, _ = unit_ranges(spec, 2)
    # A pair of layers; an embedding or a stem is a layer too.
    assert common.CUT[workload] == (first.stop // 2 if workload == "mlp" else first.stop + 1)
    assert micro_batches("gpipe", 2) == common.PARTS


def test_both_sides_have_the_same_sizes() -> None:
    mlp, gpt, bert, xlnet, resnet, efficientnet = (find_workload(*pair) for pair in SIZES.items())
    assert isinstance(mlp, MlpSpec) and mlp.widths == common.WIDTHS
    assert isinstance(bert, BertSpec) and isinstance(xlnet, XLNetSpec)
    assert (bert.mask, bert.predictions) == (common.MASK, common.PREDICTED["bert"])
    assert xlnet.predictions == common.PREDICTED["xlnet"]
    for spec in (gpt, bert, xlnet):
        assert isinstance(spec, Transformer)
        assert (spec.sequence, spec.width, spec.heads) == (
            common.SEQUENCE, common.WIDTH, common.HEADS)
        assert spec.vocabulary == common.VOCABULARY[spec.name]
    assert isinstance(efficientnet, EfficientNetSpec)
    inner = [
        (block.first.entering, block.project.leaving,
         block.spatial.entering // block.first.entering, block.spatial.kernel, block.spatial.stride)
        for block in efficientnet.blocks()
    ]
    assert common.inverted_bottlenecks(efficientnet.stem().leaving) == inner
    for spec in (gpt, bert, resnet, efficientnet, xlnet):
        assert len(spec.units()) == common.BLOCKS[spec.name]


@pytest.mark.parametrize("workload", ["bert", "xlnet"])
def test_what_is_predicted(workload: str) -> None:
    """Every sample has as many targets; BERT hides four fifths of them, XLNet orders them."""
    features, targets = common.batch(workload)
    predicted, count = targets >= 0, common.PREDICTED[workload]
    assert (predicted.sum(1) == count).all()
    if workload == "xlnet":
        tokens, order = features[:, 0], features[:, 1]
        assert (tokens[predicted] == targets[predicted]).all()
        assert ((order > 0) == predicted).all()
        assert (np.sort(order, 1)[:, -count:] == np.arange(1, count + 1)).all()
        return
    hidden = features == common.MASK
    assert not (hidden & ~predicted).any()
    assert 0.7 < hidden.sum() / predicted.sum() < 0.9


@pytest.mark.parametrize(("words", "expected"), [
    ("", (8, "", 5, "mlp")),
    ("4 pytorch_data 1", (4, "pytorch_data", 1, "mlp")),
    ("4 single --workload gpt", (4, "single", 5, "gpt")),
    ("--workload gpt 4", (4, "", 5, "gpt")),
])
def test_command_line(words: str, expected: tuple[int, str, int, str]) -> None:
    asked = arguments(words.split())
    assert (asked.rounds, asked.name_part, asked.launches, asked.workload) == expected
