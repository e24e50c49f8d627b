"""Adapters of other packages: what they say of themselves, and what becomes of broken ones."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.contract import registry
from suite.contract.traits import Traits
from tests.command import suite_command

WHOLE = """
from suite.contract.traits import Traits
TRAITS = Traits(engines=("one", "two"), distributions=("numpy",), collectives={})
def unsupported_reason(case): return ""
def installation_problem(case): return ""
def launch_plan(case, folder, python): raise NotImplementedError
"""
BROKEN = {
    "an import that fails": ("import nowhere_at_all", "ModuleNotFoundError"),
    "an exit": ("raise SystemExit('bye')", "SystemExit"),
    "no traits": ("ENGINES = ('a',)", "TRAITS is NoneType"),
    "traits of another type": ("TRAITS = {'engines': ['a']}", "TRAITS is dict"),
    "no engine": (WHOLE.replace('("one", "two")', "()"), "engines is ()"),
    "a placement that does not exist": (
        WHOLE.replace("collectives={}", "collectives={}, placement='cloud'"), "placement is 'cloud'"
    ),
    "a reference that is no engine": (
        WHOLE.replace("collectives={}", "collectives={}, references=('three',)"), "three"
    ),
    "no launch plan": (WHOLE.partition("def launch_plan")[0], "no function launch_plan"),
}
Plant = Callable[[str], None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Installs a package that brings the adapter ``mine``, for this process and its children."""

    def install(text: str) -> None:
        package = tmp_path / "mine_adapter"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
        info = tmp_path / "mine-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[suite.adapters]\nmine = mine_adapter\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        registry.forget()

    registry.forget()
    yield install
    sys.modules.pop("mine_adapter", None)
    registry.forget()


def test_the_projects_own_adapters_come_in_their_order() -> None:
    assert registry.own() == ("pytorch", "tensorflow", "horovod")
    assert registry.engines() == {
        "pytorch": ("torch",), "tensorflow": ("tensorflow",), "horovod": ("torch", "tensorflow"),
    }


def test_an_outside_adapter_joins_but_not_the_default_matrix(plant: Plant) -> None:
    plant(WHOLE)
    assert registry.engines()["mine"] == ("one", "two")
    assert "mine" not in registry.own()
    assert registry.label("mine", "two") == "mine/two"
    assert registry.label("pytorch", "torch") == "pytorch"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_is_a_reason(plant: Plant, name: str) -> None:
    text, said = BROKEN[name]
    plant(text)
    adapter = registry.adapters()["mine"]
    assert adapter.problem.startswith("cannot be loaded: ") and said in adapter.problem
    assert "mine" not in registry.engines()


def test_a_broken_manifest_ends_no_command(plant: Plant, tmp_path: Path) -> None:
    plant("import nowhere_at_all")
    listed = suite_command("list", folder=tmp_path)
    assert listed.returncode == 0 and "cannot be loaded" in listed.stdout
    checked = suite_command("doctor", "--json", folder=tmp_path)
    found = {check["name"]: check for check in json.loads(checked.stdout)["checks"]}
    assert "nowhere_at_all" in found["framework mine"]["found"]
    assert {"framework pytorch", "framework tensorflow"} <= set(found)
    planned = suite_command("run", "--framework", "mine,pytorch", "--dry-run", folder=tmp_path)
    assert planned.returncode == 0 and "cannot be loaded" in planned.stdout, planned.stderr


@pytest.mark.parametrize(("axis", "variant", "names"), [
    ("data", "", ("all_reduce",)), ("data", "fsdp", ("all_gather",)), ("intra_layer", "", ()),
    ("data", "quiet", ()),
])
def test_collectives_of_a_variant_go_before_those_of_its_axis(
    axis: str, variant: str, names: tuple[str, ...]
) -> None:
    traits = Traits(engines=("a",), distributions=(), collectives={
        "data": ("all_reduce",), "data/fsdp": ("all_gather",), "data/quiet": (),
    })
    assert traits.collectives_of(axis, variant) == names
