"""Half of a device's core is taken away in the middle of a real training: what balance does.

    python -m tests.accuracy slowed [COLUMN ...]

A process that only computes is pinned to the core of device 1 when the clean steps begin. Beside
``--balance dynamic`` stand even shares or stages and the best fixed ones, 2:1, both with the
competitor from the first step on. Stages are those of a dense network of 26 layers. ``L`` is max
over mean of the devices' busy seconds, waits for a core included: in the first clean steps and in
the last ten. ``late`` counts steps from the first with L above 1.2 to the first of three in a row
at or below 1.1. A step's time is a launch's median of the last twenty.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from suite.contract.case import Case
from suite.contract.records import RankRecord, read_records
from suite.machine.devices import allowed_cores
from suite.ranks.entry import CLEAN, IMPORT
from tests.conftest import launch_case

COLUMNS = {
    "pytorch": ("pytorch", "torch", "data", ""),
    "horovod/torch": ("horovod", "torch", "data", ""),
    "horovod/tensorflow": ("horovod", "tensorflow", "data", ""),
    "tensorflow": ("tensorflow", "tensorflow", "data", "multi_worker"),
    "pytorch/stages": ("pytorch", "torch", "inter_layer", "1f1b"),
    "horovod/torch/stages": ("horovod", "torch", "inter_layer", "1f1b"),
    "horovod/tensorflow/stages": ("horovod", "tensorflow", "inter_layer", "1f1b"),
}
MODELS = {"data": ("mlp", "wide"), "inter_layer": ("tests.depths:MLP", "long")}
# Of a small batch most of a step is communication, whose threads the competitor slows as well.
BATCH = 512
STEPS, LAST, SLOW, BALANCED, SETTLED = 60, 20, 1.2, 1.1, 3
SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


def report(*names: str) -> None:
    """Prints the table."""
    print(f"{'column':26} {'L then':>7} {'L late':>7} {'late':>5} {'shares':>9} "
          f"{'even':>8} {'2:1':>8} {'dynamic':>8} {'over 2:1':>9}")
    for name in names or COLUMNS:
        column = COLUMNS[name]
        case = Case(*column, *MODELS[column[2]], "real", "cpu", 2, steps=STEPS, probe_steps=0,
                    warmup_limit=20, global_batch=BATCH)
        dynamic = _launched(replace(case, balance="dynamic"), CLEAN)
        even = _step_ms(_launched(case, IMPORT))
        best = _step_ms(_launched(replace(case, device_speeds=(1.0, 0.5)), IMPORT))
        busy = np.array(dynamic[0].share_busy_seconds)[-STEPS:]
        imbalance = busy.max(1) / busy.mean(1)
        began = int(np.argmax(imbalance > SLOW))
        shares = "/".join(map(str, dynamic[0].shares[-1]))
        ours = _step_ms(dynamic)
        print(f"{name:26} {np.median(imbalance[began:began + 3]):7.2f} "
              f"{np.median(imbalance[-10:]):7.2f} {_late(imbalance[began:]):5d} {shares:>9} "
              f"{even:6.1f}ms {best:6.1f}ms {ours:6.1f}ms {ours / best - 1:+9.1%}", flush=True)


def _late(imbalance: np.ndarray) -> int:
    balanced = imbalance <= BALANCED
    runs = [step for step in range(len(balanced)) if balanced[step:step + SETTLED].all()]
    return runs[0] if runs else -1


def _step_ms(records: list[RankRecord]) -> float:
    """A step is as long as its slowest rank's."""
    steps = np.array([record.step_seconds for record in records]).max(0)
    return 1e3 * float(np.median(steps[-LAST:]))


def _launched(case: Case, phase: str) -> list[RankRecord]:
    """A launch with a competitor on the core of device 1 from that phase on."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "launch"
        with _competitor(folder / "phase-1", phase):
            outcome = launch_case(case, folder)
        if outcome.status != "ok":
            sys.exit(f"{case.case_id}: {outcome.status}: {outcome.reason}")
        return read_records(outcome.records)


@contextmanager
def _competitor(watched: Path, phase: str) -> Iterator[None]:
    """Starts when a rank enters a phase, ends with the context."""
    over, started = threading.Event(), []

    def watch() -> None:
        while not over.is_set():
            if watched.exists() and watched.read_text(encoding="utf-8") == phase:
                core = str(allowed_cores()[1])
                started.append(subprocess.Popen([sys.executable, "-c", SPIN, core]))
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for process in started:
            process.kill()
            process.wait()
