"""Padded vocabularies: what of a workload changes with them, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.validation import validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import initial_weights, parameter_count, sized_workload
from suite.contract.workloads.transformer import PADDING_LOGIT, Transformer

# Rows after padding to 128, and how many scalars each row has: a row of the table, and a bias.
PADDED = {("gpt", "gpt2"): (50304, 47 * 768), ("bert", "base"): (30592, 70 * 769),
          ("xlnet", "base"): (32000, 0)}


def _both(name: str, size: str, multiple: int = 128) -> tuple[Transformer, Transformer]:
    own, padded = sized_workload(name, size), sized_workload(name, size, padded=multiple)
    assert isinstance(own, Transformer) and isinstance(padded, Transformer)
    return own, padded


def _cases(**options: object) -> list[Case]:
    base = {"framework": ["pytorch"], "workload": ["gpt"], "size": "gpt2", "strategy": ["data"]}
    return build_matrix(validate(RunConfig, base | options), 0)


@pytest.mark.parametrize(("key", "expected"), PADDED.items(), ids=str)
def test_padding_counts_in_parameters_and_not_in_flops(
    key: tuple[str, str], expected: tuple[int, int]
) -> None:
    own, padded = _both(*key)
    rows, scalars = expected
    assert padded.rows == rows and padded.rows % 128 == 0 and own.rows == own.vocabulary
    assert parameter_count(padded) - parameter_count(own) == scalars
    assert padded.flops_per_sample() == own.flops_per_sample()


@pytest.mark.parametrize("family", ["gpt", "bert", "xlnet"])
def test_tokens_and_weights_are_those_without_padding(family: str) -> None:
    own, padded = _both(family, "tiny", 100)
    assert (padded.features, padded.targets) == (own.features, own.targets)
    before, after = initial_weights(own, 3), initial_weights(padded, 3)
    assert after.keys() == before.keys()
    for name, array in after.items():
        assert array.shape == padded.shapes()[name]
        assert np.array_equal(array[: len(before[name])], before[name])
        assert not array[len(before[name]):].any()
    assert len(after["embed.token.table"]) == 300


def test_the_mask_leaves_the_vocabulary_alone() -> None:
    mask = _both("gpt", "tiny", 100)[1].logit_mask()
    assert not mask[:256].any() and set(mask[256:]) == {np.float32(PADDING_LOGIT)}
    with np.errstate(under="ignore"):
        assert np.exp(np.float64(PADDING_LOGIT)) == 0.0


def test_padded_cases_have_names_and_references_of_their_own() -> None:
    own, padded = _cases(padded=[0, 128])
    assert padded.case_id == "pytorch.data.gpt-gpt2-padded128.cpu2"
    assert (own.reference_id, padded.reference_id) == ("gpt-gpt2", "gpt-gpt2-padded128")
    assert _cases() == [own]


def test_bytes_of_a_step_hold_the_padding() -> None:
    own, padded = (logical_communications(case) for case in _cases(padded=[0, 64]))
    assert len(own) == len(padded)
    assert sum(size for _, size in padded) - sum(size for _, size in own) == 4 * 47 * 768


def test_a_shallower_model_keeps_its_padding() -> None:
    assert replace(_cases(padded=[128])[0], depth=2).spec.shapes()["embed.token.table"][0] == 50304


@pytest.mark.parametrize(("options", "words"), [
    ({"workload": ["mlp"], "size": "", "padded": [64]}, "no vocabulary to pad"),
    ({"padded": [-64]}, "padded"),
])
def test_what_cannot_be_padded_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _cases(**options)
