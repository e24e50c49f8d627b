"""How many planted mistakes the tests of a room find: ``make mutants``.

    python -m scripts.mutants [COUNT] [MODULE ...]

Draws COUNT places (30) in the given modules, those of suite/analysis without any, and changes one
at a time in a copy of the project: a comparison turned or widened, an operator exchanged, a number
one larger, a condition negated. The tests of that module and of its readers run until one fails. A
mutant that none of them notices is printed with its line; somebody should ask whether it matters.
"""

from __future__ import annotations

import ast
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/analysis", "tests/cli/test_compare.py", "tests/measure/test_runner.py",
         "tests/measure/test_links.py", "tests/measure/test_ab.py", "tests/report/test_page.py",
         "tests/report/test_scaling.py")
LEFT_OUT = (".venv*", ".git", "results", "__pycache__", ".*_cache")
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
LONGEST_S = 600.0


def main() -> int:
    """Prints each mutant's fate and the share that was noticed; 1 where the tests fail anyway."""
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()]
    named = [text for text in sys.argv[1:] if not text.isdigit()]
    found = [ROOT / name for name in named] or sorted((ROOT / "suite" / "analysis").glob("*.py"))
    places = [(path, number) for path in found for number in range(count_places(path.read_text()))]
    chosen = random.Random(0).sample(places, min(len(places), (numbers or [30])[0]))
    noticed = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        shutil.copytree(ROOT / "results" / "sample", copy / "results" / "sample")
        if not _passes(copy):
            print("The tests fail without any mistake planted; mend that first", file=sys.stderr)
            return 1
        for path, number in chosen:
            killed, what = _try(copy / path.relative_to(ROOT), number, copy)
            noticed += killed
            fate = "noticed" if killed else "SURVIVED"
            print(f"{fate:9}{path.relative_to(ROOT)}:{what}", flush=True)
    print(f"{noticed} of {len(chosen)} noticed, of {len(places)} places")
    return 0


def _try(path: Path, number: int, copy: Path) -> tuple[bool, str]:
    text = path.read_text()
    changed, what = mutate(text, number)
    path.write_text(changed)
    try:
        return not _passes(copy), what
    finally:
        path.write_text(text)


def _passes(copy: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
    try:
        done = subprocess.run(command, cwd=copy, check=False, timeout=LONGEST_S,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:  # a mistake that never ends is noticed too
        return False
    return done.returncode == 0


def count_places(text: str) -> int:
    """How many places of a module can be changed."""
    return sum(1 for _ in _places(ast.parse(text)))


def mutate(text: str, number: int) -> tuple[str, str]:
    """The module with one place changed, and which: ``line: code before -> after``."""
    tree = ast.parse(text)
    node = list(_places(tree))[number]
    before, line = _first_line(node), getattr(node, "lineno", 0)
    _change(node)
    return ast.unparse(tree), f"{line}: {before} -> {_first_line(node)}"


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0]


def _places(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        compared = isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED
        computed = isinstance(node, ast.BinOp) and type(node.op) in COMPUTED
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        if compared or computed or number or isinstance(node, ast.IfExp | ast.If):
            yield node


def _change(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp):
        node.op = COMPUTED[type(node.op)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        node.value += 1
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)


if __name__ == "__main__":
    sys.exit(main())
