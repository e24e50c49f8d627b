"""One rank: read the case, run the session, write the record.

    python -m suite.worker CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

``CORES`` is a comma-separated list; affinity is set before any framework is imported, since
threads started earlier keep theirs.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from suite.spec.adapter import Inputs, OpenSession, RankRecord, Session
from suite.spec.case import PARITY_STEPS, Case, Rank
from suite.spec.workloads import initial_weights

WARMUP_WINDOW, WARMUP_TOLERANCE = 10, 0.02
TIMED_STEPS = 5


def main() -> None:
    _die_with_parent()
    case_path, inputs_path, folder, index, processes, cores = sys.argv[1:7]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    case = Case.read(Path(case_path))
    rank = Rank(int(index), int(processes), Path(folder))
    module = importlib.import_module(f"adapters.{case.framework}.session")
    run_rank(case, rank, _inputs(Path(inputs_path), case), module.open_session)
    # The record is whole: a framework's threads that die badly at interpreter exit (gloo aborts
    # now and then while its futures still hold Python callbacks) must not turn it into a failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_parent() -> None:
    """A harness that was killed must leave no worker behind (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run_rank(
    case: Case,
    rank: Rank,
    inputs: Inputs,
    open_session: OpenSession,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Parity steps, warm-up, clean steps, timed steps, in that order; writes the record last."""
    record = RankRecord(rank.index)
    began = clock()
    session = open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    record.open_seconds = clock() - began
    try:
        next_index = _parity(session, rank, record, clock)
        next_index = _warm_up(session, next_index, record, clock)
        next_index = _clean(session, next_index, case.steps, record, clock)
        _timed(session, next_index, record, clock)
        record.peak_memory_bytes = session.peak_memory_bytes()
        record.ledger = session.describe()
        record.affinity = _affinity()
    finally:
        session.close()
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(asdict(record)))


def _inputs(path: Path, case: Case) -> Inputs:
    with np.load(path) as arrays:
        return Inputs(arrays["features"], arrays["targets"], case.spec.global_batch)


def _parity(
    session: Session, rank: Rank, record: RankRecord, clock: Callable[[], float]
) -> int:
    """Proves the first steps, which are the first window of the warm-up too."""
    gradients = session.gradients(0)
    for index in range(PARITY_STEPS):
        began = clock()
        handle = session.step(index)
        session.synchronize()
        record.warmup_seconds.append(clock() - began)
        record.losses.append(session.loss(handle))
    parameters = session.parameters()
    if rank.index == 0:
        arrays = {f"gradient/{name}": value for name, value in gradients.items()}
        arrays |= {f"parameter/{name}": value for name, value in parameters.items()}
        part = rank.folder / "parity.part.npz"
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(rank.folder / "parity.npz")
    return PARITY_STEPS


def _one(session: Session, index: int, clock: Callable[[], float]) -> float:
    began = clock()
    session.step(index)
    session.synchronize()
    return clock() - began


def _warm_up(session: Session, index: int, record: RankRecord, clock: Callable[[], float]) -> int:
    """The second window; the count is fixed, and steadiness is a verdict recorded later.

    Every rank sees times of its own: if these decided the number of steps, ranks would disagree
    and hang in a collective.
    """
    for _ in range(WARMUP_WINDOW):
        record.warmup_seconds.append(_one(session, index, clock))
        index += 1
    return index


def _steady(record: RankRecord) -> bool:
    """Whether the median of a window is within the tolerance of the next one's."""
    first, second = record.warmup_seconds[:WARMUP_WINDOW], record.warmup_seconds[WARMUP_WINDOW:]
    windows = [statistics.median(part) for part in (first, second, record.step_seconds)]
    return any(
        abs(before - after) <= WARMUP_TOLERANCE * after
        for before, after in zip(windows, windows[1:], strict=False)
    )


def _clean(
    session: Session, index: int, steps: int, record: RankRecord, clock: Callable[[], float]
) -> int:
    for _ in range(steps):
        record.step_seconds.append(_one(session, index, clock))
        index += 1
    record.steady = _steady(record)
    return index


def _timed(session: Session, index: int, record: RankRecord, clock: Callable[[], float]) -> int:
    for _ in range(TIMED_STEPS):
        began = clock()
        trace = session.timed_step(index)
        record.timed_step_seconds.append(clock() - began)
        record.traces.append(asdict(trace))
        index += 1
    return index


def _affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def write_atomically(path: Path, text: str) -> None:
    """The file is either whole or absent, whenever the process dies."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main()
