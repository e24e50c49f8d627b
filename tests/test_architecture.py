"""Who may import whom: rooms in a straight line, no circle, frameworks only in adapters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from scripts import draw_architecture
from suite.contract import registry

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = {"torch", "tensorflow", "horovod", "keras"}
# Each room of suite/ imports itself and those before it. No line is to be skipped.
ROOMS = (
    "contract", "machine", "config", "ranks", "launch", "analysis", "foresight", "report",
    "runfolder", "measure", "cli",
)
# Rooms that know less than their place in the line allows.
ONLY = {
    "ranks": {"contract"},
    "analysis": {"contract"},
    "foresight": {"contract", "machine", "analysis"},
    "report": {"contract", "analysis", "foresight"},
}
NATIVE = {
    "pytorch": {"torch"}, "tensorflow": {"tensorflow"},
    "horovod": {"horovod", "torch", "tensorflow"},
}
# What the one edge between adapters lends: models, the loop that trains them, parts of layers.
LENT = ("models", "training", "splits.shards", "splits.opaque", "traits", "build", "compiler")
FILES = [p for folder in ("suite", "adapters") for p in sorted((ROOT / folder).rglob("*.py"))]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(path): path for path in FILES}


def _imports(path: Path) -> Iterator[str]:
    """Modules that a file names; of ``from package import module`` the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else node.module


def _allowed(importer: str, name: str) -> bool:
    top, own = name.split(".")[0], importer.split(".")
    if top not in {"suite", "adapters"} | FRAMEWORKS:
        return True
    if own[0] == "suite":
        return top == "suite" and _room_allowed(own, name.split("."))
    if len(own) < 2:
        return False
    if top == "suite":
        return name.startswith("suite.contract")
    if top == "adapters":
        lends = own[1] == "horovod" and name.split(".")[1] in ("pytorch", "tensorflow")
        lent = lends and ".".join(name.split(".")[2:]).startswith(LENT)
        return name.split(".")[1] == own[1] or lent
    return top in NATIVE.get(own[1], set())


def _room_allowed(own: list[str], name: list[str]) -> bool:
    if len(own) < 2 or own[1] == "__main__":
        return True
    if len(name) < 2 or name[1] not in ROOMS:
        return False
    before = ONLY.get(own[1], set(ROOMS[: ROOMS.index(own[1])]))
    return name[1] in before | {own[1]}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_what_its_room_may(module: str) -> None:
    broken = [name for name in _imports(MODULES[module]) if not _allowed(module, name)]
    assert not broken


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in _imports(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", NATIVE)
def test_manifests_load_no_framework(name: str) -> None:
    found = set(_imports(ROOT / "adapters" / name / "__init__.py"))
    assert not {item.split(".")[0] for item in found} & FRAMEWORKS


def test_the_picture_shows_the_imports_as_they_are() -> None:
    assert draw_architecture.PICTURE.read_text() == draw_architecture.draw(), "make architecture"


def test_no_arrow_of_the_picture_runs_back_up() -> None:
    order = draw_architecture.ORDER
    assert not [pair for pair in draw_architecture.arrows()
                if order.index(pair[1]) < order.index(pair[0])]


def _names_of_frameworks() -> set[str]:
    own = registry.own()
    return {*own, *(engine for name in own for engine in registry.traits_of(name).engines)}


def _compared_texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Strings that code decides by: compared, matched, looked up, or keys of a table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            decides = node.func.attr in ("startswith", "endswith", "get", "partition")
            parts = list(node.args) if decides else []
        else:
            continue
        for part in parts:
            yield from (n for n in ast.walk(part) if isinstance(n, ast.Constant))


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("suite")])
def test_the_harness_compares_no_frameworks_name(module: str) -> None:
    names = _names_of_frameworks()
    tree = ast.parse(MODULES[module].read_text())
    found = [f"{node.value!r} in line {node.lineno}" for node in _compared_texts(tree)
             if node.value in names]
    assert not found, f"{module}: say it in the adapter's Traits instead"


@pytest.mark.parametrize("asset", sorted(
    path.name for path in (ROOT / "suite/report/page").iterdir() if path.suffix in (".js", ".j2")
))
def test_the_page_names_no_framework(asset: str) -> None:
    text = (ROOT / "suite/report/page" / asset).read_text(encoding="utf-8")
    found = [name for name in _names_of_frameworks() if name in text]
    assert not found, f"{asset}: take the name from the page's data instead"


def test_a_comparison_with_a_frameworks_name_would_be_seen() -> None:
    tree = ast.parse("a = case.framework == 'horovod'\nb = {'torch': 1}\nc = t['tensorflow']")
    assert [node.value for node in _compared_texts(tree)] == ["horovod", "torch", "tensorflow"]


@pytest.mark.parametrize("module", MODULES)
def test_no_call_has_more_than_six_positional_arguments(module: str) -> None:
    calls = [node for node in ast.walk(ast.parse(MODULES[module].read_text()))
             if isinstance(node, ast.Call) and len(node.args) > 6]
    assert not [f"line {node.lineno}" for node in calls]
