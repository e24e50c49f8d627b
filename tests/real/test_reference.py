"""A comparison with a plain script, run for real."""

from __future__ import annotations

from tests.reference.__main__ import cases, measure
from tests.reference.pair import script_name


def test_both_sides_train_in_one_group_of_processes() -> None:
    case = next(case for case in cases(4) if script_name(case) == "pytorch_data")
    found = measure(case, 1)
    assert 0 < found.low <= found.ratio <= found.high
    assert 0.5 < found.ratio < 2
