"""Every cell of the matrix in real processes: proven, and counted by the closed formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from suite.analysis.communication import missing_reason
from suite.analysis.parity import Evidence, Verdict
from suite.config import ENGINES
from suite.spec.case import PARITY_STEPS, Case
from suite.spec.strategies import COMPRESSIONS, MULTI_WORKER, STRATEGIES, VARIANTS
from suite.spec.workloads import WORKLOADS
from tests.conftest import References
from tests.depths import case_fields
from tests.real.cells import (
    Column,
    Find,
    Records,
    check_payloads,
    evidence_of,
    launched_together,
    records_of,
    skip_unless_offered,
)

COLUMNS = [(framework, engine) for framework, engines in ENGINES.items() for engine in engines]
DEFAULTS = [(strategy, VARIANTS[strategy][0]) for strategy in STRATEGIES]
# Compressed gradients have gates and a test of their own, workers another launch plan.
OTHERS = [(strategy, variant) for strategy in STRATEGIES for variant in VARIANTS[strategy][1:]
          if variant not in (*COMPRESSIONS, MULTI_WORKER)]
# What a schedule or full sharding may break: tied ends, and statistics of a micro-batch.
FAMILIES = [name + "/shallow" * (name in ("bert", "gpt", "xlnet")) for name in WORKLOADS]
CELLS = [(cell, workload) for cell in DEFAULTS for workload in FAMILIES]
CELLS += [(cell, workload) for cell in OTHERS for workload in ("gpt", "resnet")]
# TensorFlow traces two more graphs of each.
COUNTED = [(cell, workload) for cell in DEFAULTS[1:] for workload in ("mlp", "gpt/shallow")]
# Sums inside of branches, and what schedules and full sharding send.
COUNTED_IN_TORCH = [*((cell, "gpt") for cell in OTHERS), (("intra_layer", ""), "efficientnet")]
RING = ("inter_layer", "interleaved")


def _case(column: Column, cell: tuple[str, str], workload: str, devices: int) -> Case:
    count = 1 if cell[0] == "single" else devices
    counted = devices == 2 and (cell, workload) in _counted(column)
    return Case(*column, *cell, *case_fields(workload), "real", "cpu", count, steps=1,
                probe_steps=int(counted), warmup_limit=PARITY_STEPS)


def _counted(column: Column) -> list[tuple[tuple[str, str], str]]:
    return COUNTED + COUNTED_IN_TORCH * (column[1] == "torch")


def _four(column: Column) -> list[Case]:
    """With more devices than cores; the last one's hand-over to the first needs eight units."""
    deep = "gpt/deep" if column[1] == "torch" else "mlp/deep"
    return [*(_case(column, cell, "gpt", 4) for cell in DEFAULTS[1:]),
            _case(column, RING, deep, 4)]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, reference: References) -> Find:
    """What one group of processes can run: the cells of a column and a count of devices."""

    def cases(column: Column) -> list[Case]:
        return [_case(column, *cell, 2) for cell in CELLS] + _four(column)

    return launched_together(cases, tmp_path_factory.mktemp("cells"), 600, reference)


def _check(verdict: Verdict) -> None:
    assert verdict.status == "ok", verdict.reason


@pytest.mark.timeout(700)  # the first of a column launches for all
@pytest.mark.parametrize(("cell", "workload"), CELLS, ids=lambda part: "-".join(part)
                         if isinstance(part, tuple) else part)
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_two_devices(
    column: Column, cell: tuple[str, str], workload: str, ran: Find,
    hold: Callable[[Case, Evidence], Verdict],
) -> None:
    case = _case(column, cell, workload, 2)
    skip_unless_offered(case)
    _check(hold(case, evidence_of(ran(case))))


@pytest.mark.timeout(700)
@pytest.mark.parametrize("number", range(len(STRATEGIES)))
@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_four_devices_on_fewer_cores(
    column: Column, number: int, ran: Find, hold: Callable[[Case, Evidence], Verdict],
) -> None:
    case = _four(column)[number]
    skip_unless_offered(case)
    _check(hold(case, evidence_of(ran(case))))


@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    ("column", "cell", "workload"),
    [(column, *counted) for column in COLUMNS for counted in _counted(column)],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else part,
)
def test_a_step_sends_what_the_formula_says(
    column: Column, cell: tuple[str, str], workload: str, ran: Find
) -> None:
    case = _case(column, cell, workload, 2)
    skip_unless_offered(case)
    records = records_of(ran(case))
    check_payloads(case, records)
    _check_shape(records)


def _check_shape(records: Records) -> None:
    """Every hop is sent and received, and the compute clocks are clocks."""
    assert missing_reason(records) == ""
    for name in ("traces", "profiles"):
        events = [event for record in records for event in record[name][0]["events"]]
        roles = {role: [e["key"] for e in events if e["role"] == role] for role in ("send", "recv")}
        assert sorted(roles["send"]) == sorted(roles["recv"])
        assert all(event["start_s"] <= event["end_s"] for event in events)
    for record in records:
        trace = record["profiles"][-1]
        for clock in trace["busy"]:
            times, seconds = np.asarray(clock).T
            assert (np.diff(times) >= 0).all() and (np.diff(seconds) >= 0).all()
            # Devices of one process share its threads, so one of them can compute on all.
            assert 0 < seconds[-1] <= len(trace["busy"]) * (times[-1] - times[0])
            assert all(times[0] <= e["start_s"] and e["end_s"] <= times[-1]
                       for e in trace["events"])
