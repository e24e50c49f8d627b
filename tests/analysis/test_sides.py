"""What differs between two sides of a run, in the words of the command line."""

from __future__ import annotations

import pytest

from suite.analysis.sides import ledger_differences, option_differences, setting_differences
from suite.contract.row import Row


@pytest.mark.parametrize(("a", "b", "said"), [
    (50, 20, "50 against 20"), (["a", "b"], ("c",), "a,b against c"),
    ({"horovod": "/opt/python"}, {}, "horovod=/opt/python against default"),
    ("", None, ""), ("text", None, "text against default"), (0, "", "0 against default"),
])
def test_options_are_written_as_they_are_given(a: object, b: object, said: str) -> None:
    found = option_differences({"memory_limit": a}, {"memory_limit": b})
    assert found == ([f"--memory-limit: {said}"] if said else [])


def test_what_one_side_alone_has_is_not_set_on_the_other() -> None:
    assert setting_differences({"A": "1", "B": "2"}, {"B": "2", "C": "3"}) == [
        "environment A: 1 against not set", "environment C: not set against 3"]
    a, b = Row(ledger={"torch": "1", "mode": "eager"}), Row(ledger={"torch": "2", "mode": "x"})
    assert ledger_differences(a, b, told=["mode"]) == ["ledger torch: 1 against 2"]
