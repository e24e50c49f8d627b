"""Launches for the tests: real processes, the fake adapter or a real framework."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.parity import Evidence, Verdict, check, measure_drift
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.workloads import initial_weights
from suite.launch.group import Launcher, LaunchRequest, Outcome, launch
from suite.launch.inputs import load_data
from suite.machine.devices import allowed_cores
from suite.measure.proofs import load_evidence

HERE = Path(__file__).parent
# Adapters of the tests, for this process and for those it starts; before `adapters` is imported.
EXTRA = [
    str(HERE / f"{name}_adapter") for name in ("fake", "faulty", "planted", "busy")
]
sys.path[:0] = EXTRA
# Where packages of this machine may lie that no environment holds.
OUTER = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep)
         if folder and folder not in EXTRA]


def python_path(*folders: str) -> str:
    """A PYTHONPATH of these folders and of those that the tests were started with."""
    return os.pathsep.join([*folders, *OUTER])


os.environ["PYTHONPATH"] = python_path(*EXTRA)
# What the tests' adapters are told reaches their workers by name.
os.environ["SUITE_PASS_ENV"] = "FAKE_*,FAULT,PLANT,BUSY_EXTRA"
# By which tests that run beside each other know what their fake ranks started.
os.environ["FAKE_OWNER"] = str(os.getpid())
# A shell's background job ignores interrupts, and so would every run that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
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


def launch_case(
    case: Case, folder: Path, timeout_s: float = 120.0, worker: str = "suite.ranks.train",
    turned: bool = False, launcher: Launcher = launch,
) -> Outcome:
    """``turned`` gives the devices the same cores in the other order."""
    path, inputs = written(case, folder)
    # A core is a CPU device; a GPU's rank has its share of all.
    cores = allowed_cores()[: case.devices if case.device == "cpu" else None]
    cores = cores[:: -1 if turned else 1]
    return launcher(LaunchRequest(case, path, inputs, folder, cores, timeout_s, worker=worker))


def written(case: Case, folder: Path) -> tuple[Path, Path]:
    """What a worker reads, beside its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    features, targets = load_data(case.spec, case.data, case.seed)
    path = folder.parent / f"{folder.name}.case.json"
    inputs = folder.parent / f"{folder.name}.inputs.npz"
    np.savez(inputs, features=features, targets=targets)
    case.write(path)
    return path, inputs


def several_launched(cases: list[Case], folder: Path, timeout_s: float) -> dict[Case, Path]:
    """One group that runs cases of one column and device count in turn.

    Each one's folder; those that were done when the group died have their record.
    """
    folders = {case: folder / f"{number}-{case.case_id}" for number, case in enumerate(cases)}
    listing = []
    for case, own in folders.items():
        own.mkdir(parents=True)
        listing.append([str(path) for path in (*written(case, own), own)])
    inputs = folder / "several.json"
    inputs.write_text(json.dumps(listing))
    first, cores = cases[0], allowed_cores()[: cases[0].devices]
    launch(LaunchRequest(
        first, Path(listing[0][0]), inputs, folder / "group", cores, timeout_s,
        worker="tests.real.several", expects_records=False,
    ))
    return folders


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stays in one process of ``pytest -n 2 --dist loadgroup``: a file, a column's cells."""
    for item in items:
        lane = item.path.name
        if "ran" in getattr(item, "fixturenames", ()):
            case = item.callspec.params["case"]
            lane = f"{case.framework} {case.engine}"
        item.add_marker(pytest.mark.xdist_group(lane))


class References:
    """The evidence of the single devices that cases are held against, each computed once."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._known: dict[str, Evidence] = {}

    def __call__(self, case: Case, dtype: str = "float64") -> Evidence:
        self.prepare([case], dtype)
        return self._known[_name(_reference_of(case, dtype))]

    def prepare(self, cases: Iterable[Case], dtype: str = "float64") -> None:
        """One launch for all that is not known yet."""
        wanted = {_name(one): one for one in (_reference_of(case, dtype) for case in cases)}
        missing = [one for name, one in wanted.items() if name not in self._known]
        if not missing:
            return
        folder = self._new_folder()
        for single, own in several_launched(missing, folder, 280).items():
            record = own / "rank-0.json"
            assert record.exists(), (folder / "group" / "worker.log").read_text()[-2000:]
            losses = json.loads(record.read_text())["losses"]
            self._known[_name(single)] = load_evidence(own, losses)


def _reference_of(case: Case, dtype: str) -> Case:
    return replace(
        case, framework="pytorch", engine="torch", strategy="single", variant="", devices=1,
        dtype=dtype, steps=1, probe_steps=0, warmup_limit=PARITY_STEPS, mode="eager",
        statistics_groups=case.groups, accumulate=1, recompute="none",
        balance="static", device_speeds=(), mesh="",
    )


def _name(single: Case) -> str:
    return f"{single.workload_id}.{single.statistics_groups}.{single.dtype}"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> References:
    return References(lambda: tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="session")
def hold(reference: References) -> Callable[[Case, Evidence], Verdict]:
    """Compares a case's evidence with its reference, as a run does."""

    def verdict(case: Case, evidence: Evidence) -> Verdict:
        initial, expected = initial_weights(case.spec, case.seed), reference(case)
        found = check(evidence, expected, initial)
        if found.status == "ok":
            return found
        drift = measure_drift(reference(case, "float32"), expected, initial)
        return check(evidence, expected, initial, drift)

    return verdict


@pytest.fixture
def prove(start: Launch, hold: Callable[[Case, Evidence], Verdict]) -> Callable[[Case], Verdict]:
    """Launches a case and compares it with its reference."""

    def run(case: Case) -> Verdict:
        outcome, folder = start(case)
        assert outcome.status == "ok", outcome.reason
        return hold(case, load_evidence(folder, outcome.records[0]["losses"]))

    return run
