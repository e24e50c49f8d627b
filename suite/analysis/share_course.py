"""Balanced shares and stages step by step: what each device had, and what it was busy for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from suite.contract.case import Case
from suite.contract.files import TableRow
from suite.contract.records import SAMPLES, UNITS, Launch, RankRecord, ShareCourse

BALANCE_COLUMNS = ["case_id", "launch", "step", "device", SAMPLES, "busy_s", UNITS]
# Steps that a page draws at most.
STEPS_AT_MOST = 400


def shared(case: Case) -> str:
    """Returns what the devices of a case have shares of: ``samples``, or ``units`` of the model."""
    return UNITS if case.strategy == "inter_layer" else SAMPLES


def balance_rows(
    case_id: str, launches: Sequence[Launch | None], kind: str = SAMPLES
) -> Iterator[TableRow]:
    """Rows of ``balance.csv``: of every step from the proof's first to the last clean one.

    Args:
        case_id: Of the case.
        launches: The ranks' records of each block, None where a launch failed.
        kind: What the devices have shares of; the other column stays empty.

    Yields:
        A row a step and device; without busy seconds for the last steps, which were not told of.
    """
    blank: TableRow = {SAMPLES: None, UNITS: None}
    for number, launch in enumerate(launches):
        record = launch[0] if launch else None
        for step, shares in enumerate(record.shares if record else ()):
            busy = _busy(record, step, len(shares))
            for device, share in enumerate(shares):
                yield {"case_id": case_id, "launch": number, "step": step, "device": device,
                       "busy_s": busy[device], **blank, kind: share}


def _busy(record: RankRecord | None, step: int, devices: int) -> Sequence[float | None]:
    told = record.share_busy_seconds if record else []
    return told[step] if step < len(told) else [None] * devices


def share_course(launches: Sequence[Launch], kind: str = SAMPLES) -> ShareCourse | None:
    """What the page draws: the launch whose shares changed most often, thinned evenly.

    Args:
        launches: The ranks' records of the launches that finished.
        kind: What the devices have shares of.

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
        [chosen.share_busy_seconds[step] for step in steps], kind,
    )


def last_cut(course: ShareCourse | None) -> str:
    """Returns the units of each stage at the end of a course as ``--cut`` takes them.

    Args:
        course: The course of a case; None if it was not balanced.

    Returns:
        Such as ``5,3``; empty where the batch is shared.
    """
    staged = course is not None and course.kind == UNITS and course.shares
    return ",".join(map(str, course.shares[-1])) if course and staged else ""


def _changes(shares: Sequence[Sequence[int]]) -> int:
    return sum(before != after for before, after in pairwise(shares))
