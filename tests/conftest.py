"""Launches for the tests: real processes, the fake adapter or a real framework."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.parity import Evidence, Verdict, check
from suite.data import load_data
from suite.environment import allowed_cores
from suite.launch import Outcome, launch
from suite.runner import load_evidence
from suite.spec.case import Case
from suite.spec.workloads import initial_weights

HERE = Path(__file__).parent
# Adapters of the tests, for this process and for those it starts; before `adapters` is imported.
EXTRA = [str(HERE / name) for name in ("fake_adapter", "faulty_adapter")]
sys.path[:0] = EXTRA
os.environ["PYTHONPATH"] = os.pathsep.join(EXTRA)
Launch = Callable[..., tuple[Outcome, Path]]


@pytest.fixture
def fake() -> Case:
    """A case of the adapter that needs no framework."""
    return Case("fake", "numpy", "data", "", "mlp", "tiny", "synthetic", "cpu", 2, steps=2)


@pytest.fixture
def start(tmp_path: Path) -> Launch:
    """Launches a case; returns how it ended and its folder."""

    def run(case: Case, timeout_s: float = 120.0) -> tuple[Outcome, Path]:
        folder = tmp_path / case.case_id
        return launch_case(case, folder, timeout_s), folder

    return run


def launch_case(case: Case, folder: Path, timeout_s: float = 120.0) -> Outcome:
    folder.parent.mkdir(parents=True, exist_ok=True)
    features, targets = load_data(case.spec, case.data, case.seed)
    inputs, path = folder.with_suffix(".npz"), folder.with_suffix(".json")
    np.savez(inputs, features=features, targets=targets)
    case.write(path)
    return launch(case, path, inputs, folder, allowed_cores()[: case.devices], timeout_s)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Evidence]:
    """The float64 evidence of a case's workload, launched once."""
    known: dict[tuple[str, str], Evidence] = {}

    def find(case: Case) -> Evidence:
        key = (case.workload, case.size)
        if key not in known:
            single = replace(
                case, framework="pytorch", engine="torch", strategy="single", variant="",
                devices=1, dtype="float64", steps=1,
            )
            folder = tmp_path_factory.mktemp("reference") / "float64"
            outcome = launch_case(single, folder)
            assert outcome.status == "ok", outcome.reason
            known[key] = load_evidence(folder, outcome)
        return known[key]

    return find


@pytest.fixture
def prove(start: Launch, reference: Callable[[Case], Evidence]) -> Callable[[Case], Verdict]:
    """Launches a case and compares it with its reference."""

    def run(case: Case) -> Verdict:
        outcome, folder = start(case)
        assert outcome.status == "ok", outcome.reason
        evidence = load_evidence(folder, outcome)
        return check(evidence, reference(case), initial_weights(case.spec, case.seed))

    return run
