"""Every cell of the matrix in real processes: proven, and counted by the closed formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.communication import missing_reason
from suite.analysis.parity import Evidence, Verdict
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import read_records
from suite.contract.splits.strategies import (
    COMPRESSIONS,
    MULTI_WORKER,
    STRATEGIES,
    TUNED,
    VARIANTS,
)
from suite.contract.workloads import WORKLOADS
from tests.conftest import launch_case
from tests.depths import case_fields
from tests.real.cells import (
    COLUMNS,
    Column,
    Find,
    Records,
    check_payloads,
    evidence_of,
    family,
    name,
    parameter,
    records_of,
)

DEFAULTS = [(strategy, VARIANTS[strategy][0]) for strategy in STRATEGIES]
# Compressed gradients have gates and a test of their own, workers another launch plan, and a
# library's settings are the same sums at other times.
OTHERS = [(strategy, variant) for strategy in STRATEGIES for variant in VARIANTS[strategy][1:]
          if variant not in (*COMPRESSIONS, MULTI_WORKER, *TUNED)]
TUNED_CELLS = [(column, ("data", variant)) for column in COLUMNS if column[0] == "horovod"
               for variant in TUNED]
# What a schedule or full sharding may break: tied ends, and statistics of a micro-batch.
FAMILIES = [each + "/shallow" * (each in ("bert", "gpt", "xlnet")) for each in WORKLOADS]
# TensorFlow traces two more graphs of each.
COUNTED = [(cell, workload) for cell in DEFAULTS[1:] for workload in ("mlp", "gpt/shallow")]
# Sums inside of branches, and what schedules and full sharding send.
RING = ("inter_layer", "interleaved")
COUNTED_IN_TORCH = [*((cell, "gpt" if cell == RING else "gpt/shallow") for cell in OTHERS),
                    (("intra_layer", ""), "efficientnet")]


def _case(column: Column, cell: tuple[str, str], workload: str, devices: int = 2) -> Case:
    count = 1 if cell[0] == "single" else devices
    counted = devices == 2 and (cell, workload) in _counted(column)
    return Case(*column, *cell, *case_fields(workload), "real", "cpu", count, steps=1,
                probe_steps=int(counted), warmup_limit=PARITY_STEPS)


def _cells(column: Column) -> list[tuple[tuple[str, str], str]]:
    """TensorFlow takes seconds to trace a cell: of Horovod's, which are the same models, those
    where a strategy meets tied ends, batch statistics and each model's own branches."""
    slow, found = column == ("horovod", "tensorflow"), []
    for cell in DEFAULTS:
        every = not slow or cell[0] == "intra_layer"
        chosen = FAMILIES if every else ["mlp", "gpt/shallow", "resnet"]
        found += [(cell, workload) for workload in chosen]
    for cell in OTHERS:  # a ring's second stage of each device needs two more blocks
        found += [(cell, "gpt" if cell == RING else "gpt/shallow"), (cell, "resnet")]
    return found


def _counted(column: Column) -> list[tuple[tuple[str, str], str]]:
    return COUNTED + COUNTED_IN_TORCH * (column[1] == "torch")


def _four(column: Column) -> list[Case]:
    """With more devices than cores; the last one's hand-over to the first needs eight units."""
    if column[1] == "tensorflow":
        return [_case(column, cell, "mlp/deep", 4) for cell in [*DEFAULTS[1:], RING]]
    return [*(_case(column, cell, "gpt", 4) for cell in DEFAULTS[1:]),
            _case(column, RING, "gpt/deep", 4)]


def _kept(case: Case) -> bool:
    """A language model of every cell, batch statistics of every strategy, the most devices of a
    step and of a ring, and the models of PyTorch and TensorFlow where their own branches are split.

    Horovod's tensorflow engine has the schedules and the models of both others, and is proven in
    their defaults and in the ring of four devices.
    """
    cell, lent = (case.strategy, case.variant), case.framework == "horovod"
    shared = lent and case.engine == "tensorflow"
    if case.devices == 4:
        return cell in ((RING,) if shared else () if lent else (DEFAULTS[1], RING))
    if family(case) == "gpt":
        return cell in DEFAULTS or not shared
    if family(case) == "resnet":
        return cell in (*DEFAULTS[1:], ("data", "fsdp"))
    return case.strategy == "intra_layer" and not lent


@pytest.mark.parametrize("case", [
    *(parameter(case, _kept(case)) for column in COLUMNS
      for case in [*(_case(column, *cell) for cell in _cells(column)), *_four(column)]),
    *(parameter(_case(column, cell, "gpt/shallow"), not number)
      for number, (column, cell) in enumerate(TUNED_CELLS)),
], ids=name)
def test_a_cell_is_at_parity(
    case: Case, ran: Find, hold: Callable[[Case, Evidence], Verdict]
) -> None:
    verdict = hold(case, evidence_of(ran(case)))
    assert verdict.status == "ok", verdict.reason


@pytest.mark.parametrize("case", [
    parameter(case, _kept(case)) for column in COLUMNS
    for case in (_case(column, *cell) for cell in _counted(column))
], ids=name)
def test_a_step_sends_what_the_formula_says(case: Case, ran: Find) -> None:
    records = records_of(ran(case))
    check_payloads(case, records)
    _check_shape(records)


@pytest.mark.parametrize("case", [
    parameter(_case(column, DEFAULTS[1], "gpt/shallow"), column != ("horovod", "tensorflow"))
    for column in COLUMNS
], ids=name)
def test_new_processes_train_as_forks_do(case: Case, ran: Find, tmp_path: Path) -> None:
    """The other cells are forks; these are launched in both ways."""
    fork = records_of(ran(case))[0]
    outcome = launch_case(case, tmp_path / "fresh")
    assert outcome.status == "ok", outcome.reason
    (fresh,) = read_records(outcome.records[:1])
    assert (fork.ledger["start"], fresh.ledger["start"]) == ("forked", "fresh")
    assert fresh.losses == fork.losses


def _check_shape(records: Records) -> None:
    """Every hop is sent and received, and the compute clocks are clocks."""
    assert missing_reason(records) == ""
    for first in ([record.traces[0] for record in records],
                  [record.profiles[0] for record in records]):
        events = [event for trace in first for event in trace.events]
        roles = {role: [e.key for e in events if e.role == role] for role in ("send", "recv")}
        assert sorted(roles["send"]) == sorted(roles["recv"])
        assert all(event.start_s <= event.end_s for event in events)
    for record in records:
        trace = record.profiles[-1]
        for clock in trace.busy:
            times, seconds = np.asarray(clock).T
            assert (np.diff(times) >= 0).all() and (np.diff(seconds) >= 0).all()
            # Devices of one process share its threads, so one of them can compute on all.
            assert 0 < seconds[-1] <= len(trace.busy) * (times[-1] - times[0])
            assert all(times[0] <= e.start_s and e.end_s <= times[-1]
                       for e in trace.events)
