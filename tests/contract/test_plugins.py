"""Workloads and adapters of other packages: by entry point, or by naming an object."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.contract import registry
from suite.contract.errors import UsageError
from suite.contract.manifests import manifest
from suite.contract.registry import engines
from suite.contract.workloads import Branch, find_workload, sizes_of
from suite.contract.workloads.check import check_workload
from suite.launch.inputs import load_data

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OWN = "tabular_resnet:SIZES"
MANIFEST = """
from suite.contract.traits import Traits
TRAITS = Traits(engines=("numpy", "again"), distributions=("numpy",), collectives={})
def unsupported_reason(case): return ""
def installation_problem(case): return ""
def launch_plan(case, folder, python): raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example can be imported, and nothing is remembered between tests."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    registry.forget()
    sizes_of.cache_clear()
    yield
    registry.forget()
    sizes_of.cache_clear()


def _distribution(folder: Path, entry_points: str) -> None:
    info = folder / "added-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_a_workload_is_named_by_its_module() -> None:
    config = RunConfig(workload=[OWN], size="tiny", framework=["pytorch"])
    cases = build_matrix(config, gpus=0)
    assert len(cases) == 4 and {case.spec.name for case in cases} == {"tabular-resnet"}
    assert cases[1].case_id == "pytorch.data.tabular_resnet-SIZES-tiny.cpu2"
    features, targets = load_data(cases[0].spec, "real", 0)
    assert features.shape == (178, 13) and features.dtype == "float32" and set(targets) == {0, 1, 2}


def test_a_workload_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _distribution(tmp_path, f"[suite.workloads]\nwine = {OWN}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_workload("wine", "wide").size == "wide"
    with pytest.raises(UsageError, match="one of tiny, wide"):
        find_workload("wine", "")


def test_an_adapter_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _distribution(tmp_path, "[suite.adapters]\nmine = added_adapter\n")
    package = tmp_path / "added_adapter"
    package.mkdir()
    (package / "__init__.py").write_text(MANIFEST)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert engines()["mine"] == ("numpy", "again") and manifest("mine").__name__ == "added_adapter"
    config = RunConfig(framework=["mine"], strategy=["data"])
    cases = build_matrix(config, gpus=0)
    assert [case.engine for case in cases] == ["numpy", "again"]
    # Two engines of one framework are two cases in two folders.
    assert len({case.case_id for case in cases}) == 2 and "mine-again." in cases[1].case_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "one of mlp"),
        ("nowhere_at_all:SIZES", "ModuleNotFoundError"),
        ("tabular_resnet:NOTHING", "AttributeError"),
        ("tabular_resnet:np", "derive from it"),
    ],
)
def test_what_is_no_workload_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_workload(name, "")


def test_a_single_size_need_not_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alone.py").write_text("from tabular_resnet import SIZES\nNET = SIZES[0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_workload("alone:NET", "").size == "tiny"
    sys.modules.pop("alone")


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("shapes", {"block0.norm.gain": (4,)}, "a last word of"),
        ("shapes", {"mixer.weight": (4, 4)}, "listed in ends"),
        ("units", ["block1", "block2"], "numbers from 0"),
        ("units", ["first", "second"], "a word and its number"),
        ("ends", dict.fromkeys(("embed", "norm", "head"), ("middle",)), "first, last or both"),
        ("branches", [Branch(("block0.wide",), "block0.contract", "block0", 1, 1)], "block0.wide"),
    ],
)
def test_a_fault_of_the_class_is_named(
    method: str, value: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(importlib.import_module("tabular_resnet").SIZES[0])
    check_workload("mine", spec)
    monkeypatch.setattr(type(spec), method, lambda self: value)
    with pytest.raises(UsageError, match=said):
        check_workload("mine", spec)


def test_data_that_do_not_fit_name_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_workload(OWN, "tiny")
    features, targets = load_data(spec, "real", 0)
    monkeypatch.setattr(type(spec), "real_data", lambda self, generator: (features, targets + 9))
    with pytest.raises(UsageError, match="real_data"):
        load_data(spec, "real", 0)
