"""Stages of a given number of units: asked for, checked, planned, named."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.splits.division import division_problem
from suite.contract.splits.mesh import every_mesh
from suite.contract.splits.stages import stage_units, stages_of_weights, unit_ranges
from suite.contract.splits.volumes import logical_communications
from suite.measure.availability import adapter_problem

CASE = Case("pytorch", "torch", "inter_layer", "1f1b", "gpt", "tiny", "real", "cpu", 2, cut=(3, 1))


def test_a_cut_says_which_stage_has_which_unit() -> None:
    spec = CASE.spec
    assert [len(stage) for stage in stage_units(spec, 2, cut=CASE.cut)] == [3, 1]
    assert unit_ranges(spec, 2, cut=CASE.cut) == [range(3), range(3, 4)]
    holders = stages_of_weights(spec, 2, cut=CASE.cut)
    units = spec.units()
    stage = {name.split(".")[0]: held for name, held in holders.items()}
    assert [stage[unit] for unit in units] == [(0,), (0,), (0,), (1,)]


def test_a_cut_has_a_name_a_command_and_json(tmp_path: Path) -> None:
    assert CASE.case_id.endswith(".cut-3-1") and CASE.shown_cut == "3,1"
    CASE.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == CASE
    again = build_matrix(resolve("quick", None, {
        "framework": ["pytorch"], "strategy": ["inter_layer"], "variant": ["1f1b"],
        "workload": ["gpt"], "size": "tiny", "cut": [CASE.shown_cut]}), gpus=0)
    assert [case.cut for case in again] == [(3, 1)]


@pytest.mark.parametrize("cut", [(4,), (2, 1), (4, 0), (1, 1, 2)])
def test_a_cut_that_is_none_of_the_model_is_refused(cut: tuple[int, ...]) -> None:
    assert "2 numbers of units, 1 or more each, that add up to 4" in division_problem(
        replace(CASE, cut=cut))


@pytest.mark.parametrize(("options", "words"), [
    ({"cut": ["3;1"]}, "units of each stage such as 3,1"),
    ({"cut": ["0,4"]}, "units of each stage such as 3,1"),
    ({"cut": ["3,1"], "strategy": ["data"]}, "one for no stages"),
    ({"cut": ["1,2,1"], "strategy": ["inter_layer"]}, "one for 2 stages"),
])
def test_a_cut_that_nothing_can_have_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_matrix(resolve("quick", None, {"workload": ["gpt"], "size": "tiny", **options}), 0)


def test_pipelines_with_another_number_of_stages_stay_balanced() -> None:
    cases = build_matrix(resolve("quick", None, {
        "framework": ["pytorch"], "strategy": ["single", "inter_layer"], "workload": ["gpt"],
        "size": "tiny", "variant": ["1f1b", "interleaved"], "cut": ["3,1", "1,3"]}), 0)
    cuts = {(case.variant, case.cut) for case in cases}
    assert cuts == {("", ()), ("1f1b", (3, 1)), ("1f1b", (1, 3)), ("interleaved", ())}


def test_hops_are_those_of_the_cut() -> None:
    """What ResNet passes on depends on where it is cut."""
    case = replace(CASE, workload="resnet", cut=())
    sizes = [sum(size for _, size in logical_communications(replace(case, cut=cut)))
             for cut in ((1, 3), (2, 2), (3, 1))]
    spec = case.spec
    boundaries = [spec.boundary(unit) for unit in (1, 2, 3)]
    elements = [a * b * c for a, b, c in boundaries]
    for (left, right), (first, second) in zip(pairwise(sizes), pairwise(elements), strict=True):
        assert left * second == right * first


def test_an_adapter_that_takes_no_cut_refuses_it() -> None:
    fake = replace(CASE, framework="fake", engine="numpy")
    assert "takes no other cut" in adapter_problem(fake, {"fake": "python"})
    assert "cut" not in adapter_problem(replace(fake, cut=()), {"fake": "python"})


@pytest.mark.parametrize(("strategy", "devices", "shapes"), [
    ("data+inter_layer", 8, {(2, 4), (4, 2)}), ("data+inter_layer", 3, set()),
    ("data+intra_layer+inter_layer", 8, {(2, 2, 2)}),
    ("data+intra_layer+inter_layer", 16, {(2, 2, 4), (2, 4, 2), (4, 2, 2)}),
])
def test_every_mesh_is_found(strategy: str, devices: int, shapes: set[tuple[int, ...]]) -> None:
    axes = strategy.split("+")
    found = {tuple(mesh.size(axis) for axis in axes) for mesh in every_mesh(strategy, devices)}
    assert found == shapes
