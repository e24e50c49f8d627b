"""Truths planted in real training in every framework, and found by the probes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from suite.analysis.communication import load_balance
from suite.spec.case import Case
from tests.real.conftest import late_device, launch_planted

COLUMNS = {
    "pytorch": ("planted", "torch"),
    "tensorflow": ("planted_tf", "tensorflow"),
    "horovod/torch": ("planted", "horovod"),
    "horovod/tensorflow": ("planted_tf", "horovod"),
}
CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@pytest.mark.parametrize("name", COLUMNS)
def test_a_late_device_is_waited_for(
    name: str, cell: tuple[str, str], truth: Callable[..., None], tmp_path: Path
) -> None:
    found, what = late_device(*COLUMNS[name], cell, tmp_path), f"{name} {cell[0]}"
    truth(f"{what}: wait of the punctual device, ms", "50 ms late", 1e3 * found.wait_s, 45, 55)
    truth(f"{what}: transfer longer by, ms", "0 ms", 1e3 * found.transfer_s, -5, 5)
    exposed = found.exposed_s / found.wait_s
    truth(f"{what}: exposed share of the wait", "all of it", exposed, 0.9, 1.3)


@pytest.mark.parametrize("cell", CELLS[:1], ids="-".join)
@pytest.mark.parametrize("name", COLUMNS)
def test_two_to_one_load_is_found(
    name: str, cell: tuple[str, str], truth: Callable[..., None], tmp_path: Path
) -> None:
    adapter, column = COLUMNS[name]
    case = Case(adapter, column, *cell, "mlp", "wide", "real", "cpu", 2, steps=1, warmup_limit=20)
    equal, unequal = (
        load_balance(launch_planted(case, plant, tmp_path / f"of{plant[-1:]}"))["load_balance"]
        for plant in ("", "work:1")
    )
    what = f"{name} {cell[0]}"
    truth(f"{what}: L of equal loads", "1.000", equal, 1.0, 1.05)
    truth(f"{what}: L of loads 2:1", "1.333", unequal, 4 / 3 * 0.95, 4 / 3 * 1.05)
