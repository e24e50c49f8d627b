"""Launches for the tests: real processes, the fake adapter or a real framework."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from suite.analysis.parity import Evidence, Verdict, check, measure_drift
from suite.config.starts import AUTO, with_starts
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.workloads import initial_weights
from suite.launch.group import Launcher, LaunchRequest, Outcome
from suite.launch.inputs import load_data
from suite.launch.nurseries import Nurseries
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
# A shell's background job ignores interrupts, one of nohup that its terminal is gone, and so would
# every run that a test asks to end.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
Launch = Callable[..., tuple[Outcome, Path]]
# What starts the ranks of the tests: of cases that say so as forks, so that a framework is imported
# once for all launches of this process.
FORKING = Nurseries()
REFERENCE_LIMIT_S = 280.0


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
    turned: bool = False, launcher: Launcher = FORKING,
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


def forked(case: Case) -> Case:
    """The case with its ranks started as a run starts them: forked if it can be."""
    (found,) = with_starts([case], AUTO)
    return found


def pytest_sessionfinish() -> None:
    FORKING.renew()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Few files have tests that run alone, and to read the others takes as long as some of them."""
    if not (config.option.markexpr.startswith("alone") and collection_path.suffix == ".py"):
        return None
    return "pytest.mark.alone" not in collection_path.read_text() or None


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stays in one process of ``pytest -n 3 --dist loadgroup``: a file, a column's cells.

    There the longest of these begin first, so that no process is left alone with one in the end.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not _is_real(item))
    for item in items:
        lane = item.path.name
        if "ran" in getattr(item, "fixturenames", ()):
            case = item.callspec.params["case"]
            lane = f"{case.framework} {case.engine}"
        item.add_marker(pytest.mark.xdist_group(lane))
        # Real time on a machine that others use too: a miss counts when it comes three times.
        if _is_real(item) or item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.flaky(reruns=2))


def _is_real(item: pytest.Item) -> bool:
    return HERE / "real" in item.path.parents


class References:
    """The evidence of the single devices that cases are held against, each computed once.

    Processes that run tests beside each other share ``folder``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Evidence] = {}

    def __call__(self, case: Case, dtype: str = "float64") -> Evidence:
        single = _reference_of(case, dtype)
        name = _name(single)
        if name not in self._known:
            self._known[name] = self._computed(single, self._folder / name)
        return self._known[name]

    def _computed(self, single: Case, folder: Path) -> Evidence:
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "rank-0.json").exists():
                outcome = launch_case(forked(single), folder, REFERENCE_LIMIT_S)
                assert outcome.status == "ok", outcome.reason
        losses = json.loads((folder / "rank-0.json").read_text())["losses"]
        return load_evidence(folder, losses, keep=True)  # another process may read it, too


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
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return References(shared / "references")


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
