"""Truths planted in real training in every framework, and found by the probes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.communication import communication
from suite.analysis.compute import compute_seconds, load_balance
from suite.analysis.transfers import handling_columns, scheduling_seconds
from suite.contract.case import Case
from suite.machine.devices import allowed_cores
from tests.real.conftest import ATTEMPTS, late_devices, launch_planted

pytestmark = pytest.mark.alone
COLUMNS = {
    "pytorch": ("planted", "torch"),
    "tensorflow": ("planted_tf", "tensorflow"),
    "horovod/torch": ("planted", "horovod"),
    "horovod/tensorflow": ("planted_tf", "horovod"),
}
EQUAL, TWO_TO_ONE = (1.0, 1.05), (4 / 3 * 0.95, 4 / 3 * 1.05)
CELLS = [("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe")]


@pytest.mark.parametrize("name", [
    *list(COLUMNS)[:3], pytest.param("horovod/tensorflow", marks=pytest.mark.long)])
def test_a_late_device_is_waited_for(
    name: str, truth: Callable[..., None], tmp_path: Path
) -> None:
    for cell, found in late_devices(*COLUMNS[name], CELLS, tmp_path).items():
        what, exposed = f"{name} {cell[0]}", found.exposed_s / found.wait_s
        truth(f"{what}: wait of the punctual device, ms", "50 ms late", 1e3 * found.wait_s, 45, 55)
        truth(f"{what}: transfer longer by, ms", "0 ms", 1e3 * found.transfer_s, -5, 5)
        truth(f"{what}: without a core longer by, ms", "0 ms", 1e3 * found.scheduling_s, -5, 5)
        truth(f"{what}: exposed share of the wait", "all of it", exposed, 0.9, 1.3)


def test_a_competitor_for_the_cores_is_scheduling(
    truth: Callable[..., None], tmp_path: Path
) -> None:
    """Two processes that compute on the ranks' cores make transfers longer, by waiting for cores.

    Two ranks that wait in turns wait longer together than the one that is counted. Horovod's ranks
    spin while they wait, so theirs hardly grow.
    """
    case = Case("planted", "torch", "intra_layer", "", "mlp", "tiny", "real", "cpu", 2, steps=2,
                warmup_limit=20, probe_steps=20)
    alone = launch_planted(case, "", tmp_path / "alone")
    with competitors(allowed_cores()[:2]):
        beside = launch_planted(case, "", tmp_path / "beside")
    longer = (communication(beside)["t_comm_transfer_s"]
              - communication(alone)["t_comm_transfer_s"])
    waited = (scheduling_seconds(beside) or 0.0) - (scheduling_seconds(alone) or 0.0)
    truth("transfer longer beside competitors, ms", "> 2 ms", 1e3 * longer, 2, 1e4)
    truth("of that, without a core", "half or more", waited / longer, 0.4, 1.2)


@pytest.mark.parametrize(
    ("column", "strategy"),
    [(("planted", "horovod"), "data"),
     pytest.param(("planted", "horovod"), "intra_layer", marks=pytest.mark.long),
     pytest.param(("planted_tf", "horovod"), "data", marks=pytest.mark.long),
     pytest.param(("planted_tf", "horovod"), "intra_layer", marks=pytest.mark.long)],
)
def test_a_long_cycle_of_horovod_is_negotiation(
    column: tuple[str, str], strategy: str, truth: Callable[..., None], tmp_path: Path
) -> None:
    """Of 30 ms most are waited in each operation, since one begins soon after another has ended."""
    case = Case(*column, strategy, "", "mlp", "tiny", "real", "cpu", 2, steps=2, warmup_limit=20)
    records = launch_planted(case, "cycle:30", tmp_path)
    what, found = f"{column} {strategy}", communication(records)
    negotiation = handling_columns(records)["t_comm_negotiation_s"]
    calls = found["comm_count"]
    truth(f"{what}: negotiation of an operation, ms", "up to 30 ms",
          1e3 * negotiation / calls, 15, 33)
    rest = found["t_comm_transfer_s"] - negotiation
    truth(f"{what}: other transfer of an operation, ms", "a few", 1e3 * rest / calls, 0, 6)
    truth(f"{what}: wait of an operation, ms", "a few", 1e3 * found["t_comm_wait_s"] / calls, 0, 6)


@contextmanager
def competitors(cores: Sequence[int]) -> Iterator[None]:
    """A process on each of the cores that computes until the context ends."""
    code = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    started = [subprocess.Popen([sys.executable, "-c", code, str(core)]) for core in cores]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.long] * name.startswith("horovod")) for name in COLUMNS])
def test_two_to_one_load_is_found(
    name: str, truth: Callable[..., None], tmp_path: Path
) -> None:
    for attempt in range(ATTEMPTS):  # as for a late device
        equal, unequal = _loads(name, tmp_path / str(attempt))
        if equal <= EQUAL[1] and TWO_TO_ONE[0] <= unequal <= TWO_TO_ONE[1]:
            break
    truth(f"{name} data: L of equal loads", "1.000", equal, *EQUAL)
    truth(f"{name} data: L of loads 2:1", "1.333", unequal, *TWO_TO_ONE)


def _loads(name: str, folder: Path) -> tuple[float, float]:
    """L of equal loads, and of one that is as many seconds longer as those were measured to be.

    Twice the work is not twice the time: while one device computes alone it has the machine's
    memory, and often its other hardware thread, to itself (L of doubled steps: 1.22 to 1.33). In
    TensorFlow's profile only its own operations are work, so there the step is doubled.
    """
    adapter, column = COLUMNS[name]
    case = Case(adapter, column, "data", "", "mlp", "wide", "real", "cpu", 2, steps=1,
                warmup_limit=20)
    # A core that is slower than the other is no load of its device: both have both in turns.
    equal = np.mean([
        np.median(compute_seconds(launch_planted(case, "", folder / f"{turned}", turned)), axis=0)
        for turned in (False, True)
    ], axis=0)
    plant = "work:1" if name == "tensorflow" else f"spin:1:{equal.mean()}"
    unequal = load_balance(launch_planted(case, plant, folder / "unequal"))["load_balance"]
    return equal.max() / equal.mean(), unequal
