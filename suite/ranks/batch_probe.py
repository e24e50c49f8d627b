"""One rank of a memory probe: it trains a few steps with one global batch and records its peak.

    python -m suite.ranks.batch_probe CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

It proves nothing: the cell was proven at its default batch.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from suite.contract.adapter import Inputs, OpenSession, RankRecord, Session
from suite.contract.case import Case, Rank
from suite.contract.plugins import adapter_package
from suite.contract.workloads import initial_weights
from suite.ranks.entry import arrive, last_words, leave, leave_record, swift_start

# The first step builds and allocates, and the optimiser's moments appear at its end, so the peak is
# reached in the second step.
FIRST_STEPS, STEPS = 1, 3


def main() -> None:
    """Runs the process."""
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"{adapter_package(case.framework)}.session")
        # Held until the process ends, as in suite.ranks.train.
        _held = probe_rank(case, rank, one_batch(inputs_path, case), module.open_session)
    leave()


def one_batch(path: Path, case: Case) -> Inputs:
    """Makes a single global batch of the case's size by repeating the harness's samples.

    It is made in the rank, whose memory is limited, so that neither the harness nor a file ever
    holds a batch that does not fit.

    Args:
        path: The file of samples that the harness wrote.
        case: The case, with the global batch to try.
    """
    count = case.spec.global_batch
    with np.load(path) as arrays:
        order = np.arange(count) % len(arrays["features"])
        return Inputs(arrays["features"][order], arrays["targets"][order], count)


def probe_rank(
    case: Case, rank: Rank, inputs: Inputs, open_session: OpenSession,
    clock: Callable[[], float] = time.perf_counter,
) -> Session:
    """Trains a few steps, and writes their times and the peak memory to ``rank-N.json``.

    Args:
        case: The case, with the global batch to try.
        rank: Which of the case's processes this is.
        inputs: The one global batch.
        open_session: The adapter's function that builds the session.
        clock: Returns seconds; tests replace it.

    Returns:
        The session, closed.
    """
    record = RankRecord(rank.index)
    with swift_start():
        session = open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    for index in range(FIRST_STEPS + STEPS):
        began = clock()
        session.step(index)
        session.synchronize()
        record.step_seconds.append(clock() - began)
    record.warmup_seconds = list(record.step_seconds[:FIRST_STEPS])
    record.step_seconds = record.step_seconds[FIRST_STEPS:]
    record.peak_memory_bytes = session.peak_memory_bytes()
    session.close()
    leave_record(rank, asdict(record))
    return session


if __name__ == "__main__":
    main()
