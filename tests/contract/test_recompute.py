"""Which cases recompute, how they are named, and which cannot gain by it."""

from __future__ import annotations

import pytest

from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.validation import validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.splits.recompute import unrecomputable
from suite.contract.workloads import find_workload
from suite.measure.availability import unsupported_reason


def _cases(**options: object) -> list[Case]:
    base = {"framework": ["pytorch"], "workload": ["gpt"], "size": "tiny"}
    return build_matrix(validate(RunConfig, base | options), 0)


def test_recomputed_cases_have_names_of_their_own() -> None:
    both = _cases(recompute=["none", "blocks"], strategy=["data"])
    assert [case.case_id for case in both] == [
        "pytorch.data.gpt-tiny.cpu2", "pytorch.data.gpt-tiny.cpu2.recompute-blocks",
    ]
    assert [case.recomputes for case in both] == [False, True]
    assert _cases(strategy=["data"]) == both[:1]


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="'none' or 'blocks'"):
        _cases(recompute=["layers"])


@pytest.mark.parametrize("family", ["gpt", "bert", "xlnet", "resnet", "efficientnet"])
def test_units_of_several_layers_gain(family: str) -> None:
    assert unrecomputable(find_workload(family, "tiny")) == ""


def test_units_of_one_layer_gain_nothing() -> None:
    assert "frees nothing" in unrecomputable(find_workload("mlp", "wide"))
    (case,) = _cases(workload=["mlp"], strategy=["data"], recompute=["blocks"])
    assert "frees nothing" in unsupported_reason(case, {"pytorch": "python"})


@pytest.mark.parametrize(("framework", "engine", "words"), [
    ("tensorflow", "tensorflow", "needs a tape"), ("horovod", "tensorflow", "twice under one name"),
    ("horovod", "torch", ""), ("pytorch", "torch", ""),
])
def test_split_layers_that_cannot_be_recomputed(framework: str, engine: str, words: str) -> None:
    case = Case(framework, engine, "intra_layer", "", "gpt", "tiny", "real", "cpu", 2,
                recompute="blocks")
    found = unsupported_reason(case, {framework: "python"})
    assert words in found and bool(found) == bool(words)


@pytest.mark.parametrize("framework", ["tensorflow", "horovod"])
@pytest.mark.parametrize("variant", ["zero1", "zero2", "fsdp"])
def test_state_that_is_not_split(framework: str, variant: str) -> None:
    case = Case(framework, "tensorflow", "data", variant, "gpt", "tiny", "real", "cpu", 2)
    assert f"{variant} needs state that is split" in unsupported_reason(case, {framework: "python"})
