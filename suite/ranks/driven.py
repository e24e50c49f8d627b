"""A rank whose device another rank drives: it follows that rank from phase to phase."""

from __future__ import annotations

from typing import Any

from suite.contract.adapter import RankRecord
from suite.contract.asked import check_found
from suite.contract.case import Case, Rank
from suite.contract.driven import CLEAN_ENDED, CLEAN_KEPT, Driven
from suite.ranks import entry
from suite.ranks.traffic import grown, received_bytes

# Rank 0 alone starts steps and sees them end, so the records of the ranks that it drives repeat
# its wall times: the slowest rank's time of a step is then its own.
REPEATED = (
    "step_seconds", "timed_step_seconds", "traced_step_seconds", "silent_step_seconds",
    "warmup_seconds", "losses", "steady",
)


def repeated(record: RankRecord) -> dict[str, Any]:
    """Returns what driven ranks repeat of the record of the rank that drives them."""
    return {name: getattr(record, name) for name in REPEATED}


def follow(session: Driven, case: Case, rank: Rank, record: RankRecord) -> None:
    """Serves until rank 0 has measured all passes.

    Args:
        session: The session of this rank.
        case: What is trained, and how.
        rank: Which of the case's processes this is.
        record: Gets memory, traffic, probes and profiles of this rank, and what it repeats.

    Raises:
        ConnectionError: Rank 0 has ended before its time.
        NotAsAsked: This process does not compute as the case says.
    """
    before: dict[str, int] = {}
    for moment in session.moments():
        if moment == CLEAN_ENDED:
            record.received_bytes = grown(before, received_bytes())
            record.peak_memory_bytes = session.peak_memory_bytes()
            record.device_memory_bytes = session.device_memory_bytes()
            continue
        if moment == CLEAN_KEPT:
            _repeat(session, record)
            entry.leave_clean(rank, record, session.describe())
            continue
        entry.enter(rank, moment)
        if moment == entry.WARM_UP:
            check_found(case, session.describe())
            session.reset_peak_memory()
        elif moment == entry.CLEAN:
            before = received_bytes()
        elif moment == entry.PRODUCTS:
            record.matmul_flops_s = session.matmul_flops_s()
    record.traces, record.profiles = session.traces, session.profiles
    _repeat(session, record)
    record.ledger = session.describe() | entry.how_started()
    record.affinity = entry.affinity()


def _repeat(session: Driven, record: RankRecord) -> None:
    for name in REPEATED:
        setattr(record, name, session.told[name])
