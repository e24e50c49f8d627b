"""Cells of the matrix as parameters of tests: their evidence, and what they sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.analysis.communication import AMONG, payloads
from suite.analysis.parity import Evidence
from suite.contract.case import Case
from suite.contract.manifests import manifest
from suite.contract.records import RankRecord, read_launch, read_records
from suite.contract.registry import engines
from suite.contract.splits.division import division_problem
from suite.contract.splits.volumes import logical_communications
from suite.machine.software import installed_version
from suite.measure.proofs import load_evidence

Column = tuple[str, str]
Records = list[RankRecord]
Find = Callable[[Case], Path]
COLUMNS: list[Column] = [
    (framework, engine) for framework, offered in engines().items() for engine in offered
]


def parameter(case: Case, kept: bool) -> Any:
    """A case as a test's parameter: of ``make test`` if it is ``kept``, else of the long tests.

    Kept is what proves a kind: every strategy, schedule, number format and exchange, in each column
    that has code of its own for it.
    """
    return pytest.param(case, marks=[] if kept else [pytest.mark.long])


def family(case: Case) -> str:
    """``gpt`` of the suite's own and of those of other depths."""
    return case.workload.rpartition(":")[2].lower()


def name(case: Case) -> str:
    """A test's id."""
    return case.case_id.replace("tests.depths:", "")


def unable(case: Case) -> str:
    """Why a case cannot run here: what is not installed, not supported or not divisible."""
    offered = manifest(case.framework)
    if not installed_version(offered.TRAITS.distributions):
        return f"{case.framework} is not installed"
    return offered.unsupported_reason(case) or division_problem(case)


def records_of(folder: Path) -> Records:
    return read_records(read_launch(folder))


def evidence_of(folder: Path) -> Evidence:
    return load_evidence(folder, records_of(folder)[0].losses, keep=True)


def check_payloads(case: Case, records: Records) -> None:
    """A step's payloads are those of the closed formula.

    DDP and FSDP reduce and gather in buckets: fewer, of the same sum.
    """
    wanted: dict[str, list[int]] = {}
    for kind, size in logical_communications(case):
        wanted.setdefault(kind, []).append(size)
    found: dict[str, list[int]] = {}
    for kind, sizes in payloads(records).items():
        found.setdefault(kind.partition(AMONG)[0], []).extend(sizes)
    assert found.keys() == wanted.keys(), case.case_id
    for kind, sizes in wanted.items():
        if case.framework == "pytorch" and "data" in case.axes.names and kind != "send_recv":
            assert len(found[kind]) < len(sizes), (case.case_id, kind)
            assert sum(found[kind]) == sum(sizes), (case.case_id, kind)
        else:
            assert sorted(found[kind]) == sorted(sizes), (case.case_id, kind)
