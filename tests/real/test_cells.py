"""Every cell of the matrix in real processes, proven against the float64 reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from suite.analysis.parity import Evidence, Verdict
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.division import division_problem
from suite.spec.strategies import COMPRESSIONS, MULTI_WORKER, STRATEGIES, VARIANTS
from suite.spec.workloads import WORKLOADS
from tests.conftest import several_launched
from tests.depths import case_fields

COLUMNS = [(framework, engine) for framework, engines in ENGINES.items() for engine in engines]
DEFAULTS = [(strategy, VARIANTS[strategy][0]) for strategy in STRATEGIES]
# Compressed gradients have gates and a test of their own, workers another launch plan.
OTHERS = [(strategy, variant) for strategy in STRATEGIES for variant in VARIANTS[strategy][1:]
          if variant not in (*COMPRESSIONS, MULTI_WORKER)]
# What a schedule or full sharding may break: tied ends, and statistics of a micro-batch.
FAMILIES = [name + "/shallow" * (name in ("bert", "gpt", "xlnet")) for name in WORKLOADS]
CELLS = [(cell, workload) for cell in DEFAULTS for workload in FAMILIES]
CELLS += [(cell, workload) for cell in OTHERS for workload in ("gpt", "resnet")]
RING = ("inter_layer", "interleaved")
Prove = Callable[[Case], Verdict]


def _case(column: tuple[str, str], cell: tuple[str, str], workload: str, devices: int) -> Case:
    count = 1 if cell[0] == "single" else devices
    return Case(*column, *cell, *case_fields(workload), "real", "cpu", count, steps=1,
                probe_steps=0, warmup_limit=PARITY_STEPS)


def _four(column: tuple[str, str]) -> list[Case]:
    """With more devices than cores; the last one's hand-over to the first needs eight units."""
    deep = "gpt/deep" if column[1] == "torch" else "mlp/deep"
    return [*(_case(column, cell, "gpt", 4) for cell in DEFAULTS[1:]),
            _case(column, RING, deep, 4)]


def _all_of(column: tuple[str, str], devices: int) -> list[Case]:
    """What one group of processes can prove: the cells of a column and a count of devices."""
    cases = [_case(column, *cell, 2) for cell in CELLS] + _four(column)
    offered = manifest(column[0]).unsupported_reason
    return [case for case in cases if case.devices == devices and not offered(case)
            and not division_problem(case)]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """A case's folder of the group that proves all of its column's cells one after another."""

    @cache
    def launched(column: tuple[str, str], devices: int) -> dict[str, Path]:
        cases, folder = _all_of(column, devices), tmp_path_factory.mktemp("cells")
        return several_launched(cases, folder, timeout_s=600)

    return lambda case: launched((case.framework, case.engine), case.devices)[case.case_id]


@pytest.fixture
def proven(
    request: pytest.FixtureRequest, group: Callable[[Case], Path], prove: Prove,
    hold: Callable[[Case, Evidence], Verdict],
) -> Prove:
    """A case's verdict from its group; alone where that died before it, or in another attempt."""

    def verdict(case: Case) -> Verdict:
        again = getattr(request.node, "execution_count", 1) > 1
        if again or not (group(case) / "rank-0.json").exists():
            return prove(case)
        return hold(case, _evidence(group(case)))

    return verdict


def _evidence(folder: Path) -> Evidence:
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    return load_evidence(folder, records[0]["losses"], keep=True)


def _skip_if_missing(column: tuple[str, str]) -> None:
    if not installed(list(manifest(column[0]).DISTRIBUTIONS)):
        pytest.skip(f"{column[0]} is not installed")


@pytest.mark.timeout(700)  # the first of a column launches for all
@pytest.mark.parametrize(("cell", "workload"), CELLS, ids=lambda part: "-".join(part)
                         if isinstance(part, tuple) else part)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_devices(
    column: tuple[str, str], cell: tuple[str, str], workload: str, proven: Prove
) -> None:
    _skip_if_missing(column)
    case = _case(column, cell, workload, 2)
    if reason := manifest(column[0]).unsupported_reason(case) or division_problem(case):
        pytest.skip(reason)
    verdict = proven(case)
    assert verdict.status == "ok", verdict.reason


@pytest.mark.timeout(700)
@pytest.mark.parametrize("number", range(len(STRATEGIES)))
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_four_devices_on_fewer_cores(
    column: tuple[str, str], number: int, proven: Prove
) -> None:
    _skip_if_missing(column)
    verdict = proven(_four(column)[number])
    assert verdict.status == "ok", verdict.reason
