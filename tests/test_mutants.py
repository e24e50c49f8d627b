"""The planted mistakes change one place each, and the code stays code."""

from __future__ import annotations

import ast

from scripts.mutants import count_places, mutate

TEXT = """
def grown(a, b):
    if a < b:
        return a + 2
    return b if a else 0.5
"""


def test_each_place_is_changed_once() -> None:
    assert count_places(TEXT) == 6
    changed = [mutate(TEXT, number) for number in range(6)]
    assert len({text for text, _ in changed}) == 6
    assert all(ast.parse(text) and ast.unparse(ast.parse(TEXT)) != text for text, _ in changed)
    said = {what for _, what in changed}
    assert {"3: a < b -> a <= b", "4: a + 2 -> a - 2", "4: 2 -> 3", "5: 0.5 -> 1.5",
            "3: if a < b: -> if not a < b:"} <= said
