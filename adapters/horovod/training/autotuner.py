"""Horovod's own autotuner: it tries its settings on the steps of a session that is thrown away."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from suite.contract.adapter import Session
from suite.contract.case import Case, Rank
from suite.contract.splits.strategies import AUTOTUNED

LOG = "HOROVOD_AUTOTUNE_LOG"
SAMPLES = "HOROVOD_AUTOTUNE_BAYES_OPT_MAX_SAMPLES"
# How long it searches. By its defaults (3, 10 and 20) it takes some 1,200 steps, which is minutes
# on CPUs; with these it takes about 60. The library reads them when it is loaded.
EFFORT = {
    "HOROVOD_AUTOTUNE_WARMUP_SAMPLES": "1", "HOROVOD_AUTOTUNE_STEPS_PER_SAMPLE": "1", SAMPLES: "8",
}
# What is no setting of a single host stays as it is, so that cycle time and fusion threshold alone
# are tuned.
FIXED = {
    "HOROVOD_CACHE_CAPACITY": "1024", "HOROVOD_HIERARCHICAL_ALLREDUCE": "0",
    "HOROVOD_HIERARCHICAL_ALLGATHER": "0", "HOROVOD_TORUS_ALLREDUCE": "0",
}
STEPS_AT_ONCE, MOST_STEPS = 10, 2000
HEADER_LINES = 1


class Tunable(Session, Protocol):
    """A session that says with which settings Horovod carries its tensors.

    Attributes:
        settings: Entries of the fairness ledger.
    """

    settings: Mapping[str, str]


Tuned = TypeVar("Tuned", bound=Tunable)


def settled(case: Case, rank: Rank, hvd: Any, build: Callable[[], Tuned]) -> Tuned:
    """Builds a session, after the autotuner has chosen its settings if the case wants that.

    Args:
        case: The case.
        rank: The place of this rank.
        hvd: ``horovod.torch`` or ``horovod.tensorflow``; the group is joined.
        build: Builds a session of the case.
    """
    chosen = tune(hvd, rank, build) if case.variant == AUTOTUNED else {}
    session = build()
    session.settings = chosen
    return session


def log_path(rank: Rank) -> Path:
    """Returns the file in which the first rank's autotuner keeps what it tried."""
    return rank.folder / "autotune.csv"


def tune(hvd: Any, rank: Rank, build: Callable[[], Session]) -> dict[str, str]:
    """Trains until the autotuner has chosen; every rank must call it.

    The steps are the case's own, of a session that is thrown away afterwards, so that the proof and
    everything that is measured begin with the initial weights and the chosen settings.

    Args:
        hvd: ``horovod.torch`` or ``horovod.tensorflow``, joined with the autotuner on.
        rank: The place of this rank.
        build: Builds a session of the case.

    Returns:
        What the autotuner chose, as entries of the fairness ledger.

    Raises:
        RuntimeError: It did not come to an end.
    """
    session, chosen = build(), None
    for index in range(MOST_STEPS):
        session.step(index)
        if index % STEPS_AT_ONCE == STEPS_AT_ONCE - 1:
            session.synchronize()
            # Only the first rank's autotuner searches and writes; the others are told.
            chosen = None if rank.index else read_choice(log_path(rank))
            # Without a name Horovod takes that of the object's type, which differs between ranks.
            chosen = hvd.broadcast_object(chosen, root_rank=0, name="autotuned")
            if chosen:
                return dict(chosen)
    raise RuntimeError(f"Horovod's autotuner did not choose within {MOST_STEPS} steps")


def read_choice(path: Path) -> dict[str, str] | None:
    """Reads what the autotuner chose: a last line follows those of all settings that it tried.

    Args:
        path: Its log, a table with a line for each setting: milliseconds of a cycle, MiB of the
            fusion threshold, and bytes per microsecond.

    Returns:
        Entries of the fairness ledger; None while it goes on searching.
    """
    if not path.exists():
        return None
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), skipinitialspace=True))
    tried = int(os.environ[SAMPLES]) + 1
    if len(rows) < HEADER_LINES + tried + 1:
        return None
    chosen = dict(zip(rows[0], rows[-1], strict=True))
    threshold = float(chosen["tensor_fusion_threshold"]) * (1 << 20)
    return {"cycle_time_ms": f"{float(chosen['cycle_time_ms']):.3g}",
            "fusion_threshold_bytes": str(int(threshold)), "autotuned_of": str(tried)}
