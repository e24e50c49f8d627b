"""What one group of processes ran in turn, cell by cell: its evidence, and what it sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
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
from suite.contract.splits.strategies import AUTOTUNED
from suite.contract.splits.volumes import logical_communications
from suite.machine.software import installed_version
from suite.measure.proofs import load_evidence
from tests.conftest import References, several_launched
from tests.real.several import has_timeline

Column = tuple[str, str]
Records = list[RankRecord]
Find = Callable[[Case], Path]
COLUMNS: list[Column] = [
    (framework, engine) for framework, offered in engines().items() for engine in offered
]
GROUP_LIMIT_S = 780


def parameter(case: Case) -> Any:
    """A case as a test's parameter; Horovod's tensorflow engine is left to the long tests.

    Its models are TensorFlow's and its exchanges those that its cells prove, each tested elsewhere.
    """
    twice = (case.framework, case.engine) == ("horovod", "tensorflow")
    return pytest.param(case, marks=[pytest.mark.long] * twice)


def name(case: Case) -> str:
    """A test's id."""
    return case.case_id.replace("tests.depths:", "")


def unable(case: Case) -> str:
    """Why a case cannot run here: what is not installed, not supported or not divisible."""
    offered = manifest(case.framework)
    if not installed_version(offered.TRAITS.distributions):
        return f"{case.framework} is not installed"
    return offered.unsupported_reason(case) or division_problem(case)


def launched_together(cases: Iterable[Case], folder: Path, reference: References) -> Find:
    """Finds the folder of a case: all able cases of its column and device count are one launch.

    So are the references that they will be held against.
    """
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in dict.fromkeys(cases):
        groups.setdefault(_group(case), []).append(case)

    @cache
    def launched(key: tuple[Any, ...]) -> dict[Case, Path]:
        able = [case for case in groups[key] if not unable(case)]
        reference.prepare(able)
        return several_launched(able, folder / "-".join(map(str, key)), GROUP_LIMIT_S)

    return lambda case: launched(_group(case))[case]


def _group(case: Case) -> tuple[Any, ...]:
    """With a timeline, a thread of Horovod's never sleeps: the cases that need none go without.

    A process that has compiled once is taken for one that compiles, and only the first case of a
    group joins it, so the autotuner has a group of its own.
    """
    kinds = ["timeline"] * has_timeline(case) + [case.mode] * (case.mode != "eager")
    kinds += [case.variant] * (case.variant == AUTOTUNED)
    return case.framework, case.engine, case.devices, *kinds


def records_of(folder: Path) -> Records:
    """The ranks' records; a failure shows what the group said last."""
    records = read_records(read_launch(folder))
    assert records, (folder.parent / "group" / "worker.log").read_text()[-2000:]
    return records


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
