"""One rank: read the case, run the session, write the record.

    python -m suite.ranks.train CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

``CORES`` is a comma-separated list; affinity is set before any framework is imported, since
threads started earlier keep theirs.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from suite.contract.adapter import Inputs, OpenSession, RankRecord, ReportsFigures, Session
from suite.contract.case import PARITY_STEPS, Case, Rank
from suite.contract.files import write_atomically
from suite.contract.plugins import adapter_package
from suite.contract.workloads import Weights, initial_weights
from suite.ranks.entry import arrive, last_words, leave, swift_start

WARMUP_WINDOW, WARMUP_TOLERANCE = 10, 0.02
TRACED_STEPS = 3  # a median that one disturbed step does not move


def main() -> None:
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"{adapter_package(case.framework)}.session")
        # Held until the process ends: freeing a session's DDP can wait for ever for gloo's threads.
        _held = run_rank(case, rank, load_inputs(inputs_path, case), module.open_session)
    leave()


def run_rank(
    case: Case,
    rank: Rank,
    inputs: Inputs,
    open_session: OpenSession,
    clock: Callable[[], float] = time.perf_counter,
) -> Session:
    """Proof, warm-up, then the clean, timed, traced and silent passes; writes the record last."""
    record = RankRecord(rank.index)
    began = clock()
    with swift_start():
        session = open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    record.open_seconds = clock() - began
    next_index = _parity(session, rank, record, clock)
    session.reset_peak_memory()
    next_index = _warm_up(session, next_index, case.warmup_limit, record, clock)
    next_index = _clean(session, next_index, case.steps, record, clock)
    record.peak_memory_bytes = session.peak_memory_bytes()
    record.device_memory_bytes = session.device_memory_bytes()
    if case.probe_steps:
        _probes(session, next_index, case, rank, record, clock)
        record.matmul_flops_s = session.matmul_flops_s()
    record.ledger = session.describe()
    if isinstance(session, ReportsFigures):
        record.figures = session.figures()
    record.affinity = _affinity()
    session.close()
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(asdict(record)))
    return session


def load_inputs(path: Path, case: Case) -> Inputs:
    """The global batches that the harness wrote for the case."""
    with np.load(path) as arrays:
        return Inputs(arrays["features"], arrays["targets"], case.spec.global_batch)


def _parity(
    session: Session, rank: Rank, record: RankRecord, clock: Callable[[], float]
) -> int:
    """Proves the first steps, which are the first window of the warm-up too.

    The gradients are the first step's own: no other pass or graph stands in for what trains.
    """
    gradients: Weights = {}
    for index in range(PARITY_STEPS):
        began = clock()
        handle = session.step(index)
        session.synchronize()
        record.warmup_seconds.append(clock() - began)
        record.losses.append(session.loss(handle))
        if index == 0:
            gradients = session.gradients()
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


def _warm_up(
    session: Session, index: int, limit: int, record: RankRecord, clock: Callable[[], float]
) -> int:
    """Windows of steps until the last two agree on every rank, or ``limit`` steps are done.

    Every rank sees times of its own: the verdict is the group's, or ranks would disagree on the
    number of steps and hang in a collective.
    """
    while not record.steady and len(record.warmup_seconds) + WARMUP_WINDOW <= limit:
        for _ in range(WARMUP_WINDOW):
            record.warmup_seconds.append(_one(session, index, clock))
            index += 1
        record.steady = session.agree(_steady(record.warmup_seconds))
    return index


def _steady(seconds: list[float]) -> bool:
    """Whether the median of the last window is within the tolerance of the one before."""
    last, before = seconds[-WARMUP_WINDOW:], seconds[-2 * WARMUP_WINDOW : -WARMUP_WINDOW]
    after = statistics.median(last)
    return abs(statistics.median(before) - after) <= WARMUP_TOLERANCE * after


def _clean(
    session: Session, index: int, steps: int, record: RankRecord, clock: Callable[[], float]
) -> int:
    for _ in range(steps):
        record.step_seconds.append(_one(session, index, clock))
        index += 1
    return index


def _probes(
    session: Session, index: int, case: Case, rank: Rank, record: RankRecord,
    clock: Callable[[], float],
) -> None:
    """Timed, traced and silent steps; the silent ones last, since they train nothing sensible."""
    for _ in range(case.probe_steps):
        trace = session.timed_step(index)
        record.timed_step_seconds.append(trace.seconds)
        record.traces.append(trace)
        index += 1
    for number in range(TRACED_STEPS):
        wanted = case.timeline and number == TRACED_STEPS - 1
        timeline = rank.folder / f"timeline-{rank.index}.json" if wanted else None
        trace = session.traced_step(index, timeline)
        record.traced_step_seconds.append(trace.seconds)
        record.profiles.append(trace)
        index += 1
    session.silent_step(index)  # not counted: a session may set itself up for silence
    for _ in range(case.probe_steps):
        began = clock()
        session.silent_step(index)
        record.silent_step_seconds.append(clock() - began)


def _affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


if __name__ == "__main__":
    main()
