"""Balanced shares step by step: what each device had, and what it was busy for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from suite.contract.files import TableRow
from suite.contract.records import Launch, RankRecord, ShareCourse

BALANCE_COLUMNS = ["case_id", "launch", "step", "device", "samples", "busy_s"]
# Steps that a page draws at most.
STEPS_AT_MOST = 400


def balance_rows(case_id: str, launches: Sequence[Launch | None]) -> Iterator[TableRow]:
    """Rows of ``balance.csv``: of every step from the proof's first to the last clean one.

    Args:
        case_id: Of the case.
        launches: The ranks' records of each block, None where a launch failed.

    Yields:
        A row a step and device; without busy seconds for the last steps, which were not told of.
    """
    for number, launch in enumerate(launches):
        record = launch[0] if launch else None
        for step, shares in enumerate(record.shares if record else ()):
            busy = _busy(record, step, len(shares))
            for device, samples in enumerate(shares):
                yield {"case_id": case_id, "launch": number, "step": step, "device": device,
                       "samples": samples, "busy_s": busy[device]}


def _busy(record: RankRecord | None, step: int, devices: int) -> Sequence[float | None]:
    told = record.share_busy_seconds if record else []
    return told[step] if step < len(told) else [None] * devices


def share_course(launches: Sequence[Launch]) -> ShareCourse | None:
    """What the page draws: the launch whose shares changed most often, thinned evenly.

    Args:
        launches: The ranks' records of the launches that finished.

    Returns:
        The course; None where shares are not balanced.
    """
    records = [launch[0] for launch in launches if launch[0].shares]
    if not records:
        return None
    chosen = max(records, key=lambda record: _changes(record.shares))
    count = len(chosen.share_busy_seconds)
    steps = np.linspace(0, count - 1, min(STEPS_AT_MOST, count)).round().astype(int).tolist()
    return ShareCourse(
        steps, [chosen.shares[step] for step in steps],
        [chosen.share_busy_seconds[step] for step in steps],
    )


def _changes(shares: Sequence[Sequence[int]]) -> int:
    return sum(before != after for before, after in pairwise(shares))
