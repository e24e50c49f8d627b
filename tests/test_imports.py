"""Who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = {"torch", "tensorflow", "horovod", "keras"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _allowed(relative: str, name: str) -> bool:
    top = name.split(".")[0]
    if relative.startswith("suite/"):
        if top in FRAMEWORKS or top == "adapters":
            return False
        if top != "suite":
            return True
        layers = {
            "suite/spec/": ("suite.spec",),
            "suite/analysis/": ("suite.spec", "suite.analysis"),
            "suite/report/": ("suite.spec", "suite.analysis", "suite.report"),
        }
        for folder, inside in layers.items():
            if relative.startswith(folder):
                return name.startswith(inside)
        return True
    own = relative.split("/")[1]
    if top == "adapters":
        lent = own == "horovod" and name.startswith(
            ("adapters.pytorch.models", "adapters.tensorflow.models")
        )
        return name.startswith(f"adapters.{own}") or lent
    if top == "suite":
        return name.startswith("suite.spec")
    native = {"pytorch": {"torch"}, "tensorflow": {"tensorflow"},
              "horovod": {"horovod", "torch", "tensorflow"}}
    return top not in FRAMEWORKS or top in native.get(own, set())


FILES = [p for folder in ("suite", "adapters") for p in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_import_rules(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    broken = [name for name in _imports(path) if not _allowed(relative, name)]
    assert not broken


@pytest.mark.parametrize("name", ["pytorch", "tensorflow", "horovod"])
def test_manifests_load_no_framework(name: str) -> None:
    found = set(_imports(ROOT / "adapters" / name / "__init__.py"))
    assert not {item.split(".")[0] for item in found} & FRAMEWORKS
