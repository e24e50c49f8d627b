"""Every cell of the matrix in real processes, proven against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Verdict
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.spec.case import Case
from suite.spec.strategies import STRATEGIES, VARIANTS

COLUMNS = [(framework, engine) for framework, engines in ENGINES.items() for engine in engines]
CELLS = [(strategy, variant) for strategy in STRATEGIES for variant in VARIANTS[strategy]]
PARALLEL = [(strategy, VARIANTS[strategy][0]) for strategy in STRATEGIES[1:]]


def _case(column: tuple[str, str], cell: tuple[str, str], workload: str, devices: int) -> Case:
    if not installed(list(manifest(column[0]).DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")
    count = 1 if cell[0] == "single" else devices
    return Case(*column, *cell, workload, "tiny", "real", "cpu", count, steps=1)


@pytest.mark.parametrize("workload", ["mlp", "gpt"])
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_devices(
    column: tuple[str, str], cell: tuple[str, str], workload: str,
    prove: Callable[[Case], Verdict],
) -> None:
    verdict = prove(_case(column, cell, workload, 2))
    assert verdict.status == "ok", verdict.reason


@pytest.mark.parametrize("cell", PARALLEL, ids="-".join)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_four_devices_on_fewer_cores(
    column: tuple[str, str], cell: tuple[str, str], prove: Callable[[Case], Verdict]
) -> None:
    verdict = prove(_case(column, cell, "gpt", 4))
    assert verdict.status == "ok", verdict.reason
