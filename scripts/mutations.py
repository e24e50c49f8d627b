"""Which places of a module can be changed into a mistake, and how (``scripts.mutants``)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
# From here on one more would be too little to be a mistake: such numbers are doubled.
LARGE = 10
# Arguments that say how a text is laid out or how much is remembered, not what is computed.
LAYOUT = ("indent", "maxsize", "stacklevel", "width")
# Comparisons that have no third outcome: turning one is negating the condition that it is.
TWO_SIDED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
# Names of constants that say how long to wait at the most, and of what paths begin with.
PATIENCE = re.compile(r"[A-Z_]*(SECONDS|_S)")
FOLDER = re.compile(r"(.*[._])?(folder|root|path|temporary|out|parent|ROOT)(\(\))?")


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
    """The places, outer ones first; what is never computed has none."""
    for node in _computed(tree):
        compared = isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED
        computed = (isinstance(node, ast.BinOp) and type(node.op) in COMPUTED
                    and not _joins_paths(node))
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        decided = isinstance(node, ast.IfExp | ast.If) and not _one_comparison(node.test)
        if compared or computed or number or decided:
            yield node


def _computed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one that a program computes and that change what it does.

    Left out are annotations, which are never evaluated here; blocks for the type checker and those
    that run a module as a program; arguments of decorators; layout; and constants that say how long
    to wait at the most, which no test should wait for.
    """
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _left_out(child):
                yield child
                yield from _computed(child)


def _left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in LAYOUT
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    if isinstance(node, ast.Assign):
        return all(PATIENCE.fullmatch(name) for target in node.targets for name in _names(target))
    return False


def _names(target: ast.expr) -> list[str]:
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [ast.unparse(part) for part in parts]


def _one_comparison(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], TWO_SIDED)


def _joins_paths(node: ast.BinOp) -> bool:
    """Anything else between a folder and a name is an error at once, which shows nothing."""
    text = isinstance(node.right, ast.JoinedStr) or (
        isinstance(node.right, ast.Constant) and isinstance(node.right.value, str))
    return isinstance(node.op, ast.Div) and (text or bool(FOLDER.fullmatch(ast.unparse(node.left))))


def _change(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp):
        node.op = COMPUTED[type(node.op)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        node.value = 2 * node.value if abs(node.value) >= LARGE else node.value + 1
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
