"""One rank of a link sweep: it opens the transport, makes the calls and writes the raw samples.

    python -m suite.ranks.sweep CASE_JSON SWEEP_JSON FOLDER RANK PROCESSES CORES
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from suite.contract.case import Rank
from suite.contract.plugins import adapter_package
from suite.contract.sweep import LinkSession, SchedulesLoops, Sweep
from suite.contract.threads import DEFAULT
from suite.ranks.entry import (
    RECORD,
    RENDEZVOUS,
    SWEEP,
    TEARDOWN,
    arrive,
    enter,
    how_started,
    last_words,
    leave,
    leave_record,
    swift_start,
)

# Multiplying this matrix takes well under a millisecond, so a load ends on time.
OPERAND = np.full((128, 128), 0.5, np.float32)


def main() -> None:
    """Runs the process."""
    case, sweep_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"{adapter_package(case.framework)}.link")
            enter(rank, RENDEZVOUS)
            session: LinkSession = module.open_link(case, rank)
        run_sweep(session, Sweep.read(sweep_path), rank)
    leave()


def run_sweep(
    session: LinkSession, sweep: Sweep, rank: Rank,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Warms every call up, repeats the sweep in random order, and writes ``rank-N.json``.

    Args:
        session: The transport to measure.
        sweep: What to measure.
        rank: Which of the processes this is.
        clock: Returns seconds; tests replace it.
    """
    enter(rank, SWEEP)
    samples = [
        sample | {"event_loops": event_loops} for part, event_loops in _parts(session, sweep)
        for sample in sweep_samples(session, part, rank, clock)
    ]
    record = {
        "rank": rank.index, "backend": session.backend, "transport": session.transport,
        "participants": {kind: session.participants(kind) for kind in sweep.names},
        "samples": samples, **how_started(),
    }
    enter(rank, TEARDOWN)
    session.close()
    enter(rank, RECORD)
    leave_record(rank, record)


def _parts(session: LinkSession, sweep: Sweep) -> Iterator[tuple[Sweep, str]]:
    """Yields what is swept with the same event loops, and their policy, which it sets.

    Where there is only one policy, what a pipeline calls is not swept a second time.
    """
    if not isinstance(session, SchedulesLoops):
        yield replace(sweep, sizes=sweep.sizes | sweep.pipelined), ""
        return
    first = session.event_loops
    if sweep.sizes:
        yield sweep, first
    once = set(sweep.sizes) if session.schedule(DEFAULT) == first else set()
    rest = {name: sizes for name, sizes in sweep.pipelined.items() if name not in once}
    if rest:
        yield replace(sweep, sizes=rest), session.event_loops


def sweep_samples(
    session: LinkSession, sweep: Sweep, rank: Rank, clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Makes all calls of a sweep and returns a sample for each call and device.

    Args:
        session: The open transport.
        sweep: What is called.
        rank: Which rank this is.
        clock: Seconds; tests replace it.

    Returns:
        Samples with collective, bytes, repetition, call, rank, start, end and load.
    """
    calls = {(kind, size): session.prepare(kind, size) for kind, size in sweep.order(0)}
    for key in sweep.order(0):
        session.barrier()
        calls[key]()
    began, samples = clock(), []
    for repetition in range(sweep.repetitions):
        # Every rank reads another time, so the group decides whether there is time to go on.
        in_time = repetition < Sweep.FEWEST or clock() - began < sweep.seconds
        if not session.agree(in_time):
            break
        for kind, size in sweep.order(repetition):
            for call in range(Sweep.calls_of(size)):
                time.sleep(sweep.pause_s)
                session.barrier()
                keep_busy(sweep.load_s, clock)
                samples += [
                    {"collective": kind, "bytes": size, "repetition": repetition, "call": call,
                     "rank": rank.index + device, "start_s": start, "end_s": end,
                     "load_s": sweep.load_s}
                    for device, start, end in calls[kind, size]()
                ]
    return samples


def keep_busy(seconds: float, clock: Callable[[], float]) -> None:
    """Multiplies matrices for that many seconds."""
    ends = clock() + seconds
    while clock() < ends:
        np.dot(OPERAND, OPERAND)


if __name__ == "__main__":
    main()
