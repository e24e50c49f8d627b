"""The terminal's table of all figures: its cases can be told apart."""

from __future__ import annotations

import pytest

from suite.contract.row import Row
from suite.report.terminal import details_table


def _row(**more: object) -> Row:
    return Row(**{  # type: ignore[arg-type]
        "case_id": str(more), "framework": "pytorch", "engine": "torch", "strategy": "single",
        "workload": "gpt", "size": "tiny", "device": "cpu", "devices": 1, "dtype": "float32",
        "mode": "eager", "status": "ok", "repeats": 1, "step_time_s": 0.1,
    } | more)


@pytest.mark.parametrize(("more", "said"), [
    ({"padded": 128}, "pytorch single (padded to a multiple of 128)"),
    ({"recompute": "blocks"}, "pytorch single (blocks recomputed)"),
    ({"accumulate": 2}, "pytorch single (2 micro-batches accumulated)"),
    ({"dtype": "bf16"}, "pytorch single (bf16)"),
])
def test_an_axis_with_several_values_is_in_the_name(more: dict[str, object], said: str) -> None:
    names = list(details_table([_row(), _row(**more)]).columns[0].cells)
    assert names[1] == said and names[0] in ("pytorch single", "pytorch single (float32)")


def test_an_axis_with_one_value_is_not() -> None:
    rows = [_row(padded=128), _row(padded=128, strategy="data", devices=2)]
    assert list(details_table(rows).columns[0].cells)[0] == "pytorch single"


def test_ways_of_scaling_are_told_apart() -> None:
    rows = [_row(scaling=how, strategy="data", devices=2) for how in ("strong", "weak")]
    names = list(details_table(rows).columns[0].cells)
    assert names == ["pytorch data", "pytorch data (weak scaling)"]
