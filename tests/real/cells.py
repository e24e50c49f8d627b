"""What one group of processes ran in turn, cell by cell: its evidence, and what it sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from suite.analysis.communication import AMONG, payloads
from suite.analysis.parity import Evidence
from suite.environment import installed
from suite.launch import manifest
from suite.proofs import load_evidence
from suite.spec.case import Case
from suite.spec.division import division_problem
from suite.spec.volumes import logical_communications
from tests.conftest import References, several_launched

Column = tuple[str, str]
Records = list[dict[str, Any]]
Find = Callable[[Case], Path]


def skip_unless_offered(case: Case) -> None:
    """Skips, with the reason, what is not installed, not supported or not divisible."""
    offered = manifest(case.framework)
    if not installed(list(offered.DISTRIBUTIONS)):
        pytest.skip(f"{case.framework} is not installed")
    if reason := offered.unsupported_reason(case) or division_problem(case):
        pytest.skip(reason)


def launched_together(
    cases: Callable[[Column], list[Case]], folder: Path, limit_s: float,
    reference: References | None = None,
) -> Find:
    """Finds the folder of a case: all cases of its column and device count are launched at once.

    So are the references, if these are given, that they will be held against.
    """

    @cache
    def launched(column: Column, devices: int) -> dict[str, Path]:
        offered = manifest(column[0])
        able = [case for case in cases(column) if case.devices == devices
                and not offered.unsupported_reason(case) and not division_problem(case)]
        where = folder / "-".join((*column, str(devices)))
        if reference:
            reference.prepare(able)
        return several_launched(able, where, limit_s)

    return lambda case: launched((case.framework, case.engine), case.devices)[case.case_id]


def records_of(folder: Path) -> Records:
    """The ranks' records; a failure shows what the group said last."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    assert records, (folder.parent / "group" / "worker.log").read_text()[-2000:]
    return records


def evidence_of(folder: Path) -> Evidence:
    return load_evidence(folder, records_of(folder)[0]["losses"], keep=True)


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
