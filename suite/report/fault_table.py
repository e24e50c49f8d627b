"""Findings of the fault matrix as lines that can be printed one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Found(Protocol):
    """What a line shows (``suite.measure.faults.Finding``); seconds since the fault struck."""

    @property
    def column(self) -> str: ...
    @property
    def fault(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def noticed_s(self) -> float | None: ...
    @property
    def ended_s(self) -> float | None: ...
    @property
    def named(self) -> bool | None: ...
    @property
    def survivors(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def next_clean(self) -> bool | None: ...
    @property
    def problems(self) -> list[str]: ...


WIDTHS = {
    "where it runs": 24, "fault": 13, "where": 19, "noticed": 8, "ended": 8, "row": 12,
    "named": 6, "left": 5, "lost": 5, "next": 6, "verdict": 0,
}


def _aligned(cells: Sequence[str]) -> str:
    pairs = zip(cells, WIDTHS.values(), strict=True)
    return " ".join(cell.ljust(width) for cell, width in pairs).rstrip()


HEAD = _aligned(list(WIDTHS))


def line(found: Found) -> str:
    """One fault: where it struck, when it was noticed, and what was left."""
    return _aligned([
        found.column, found.fault, found.where, _seconds(found.noticed_s),
        _seconds(found.ended_s), found.status, _yes(found.named), str(found.survivors),
        str(found.lost), _yes(found.next_clean, "clean", "NOT"),
        "; ".join(found.problems) or "ok",
    ])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _yes(value: bool | None, yes: str = "yes", no: str = "NO") -> str:
    return "-" if value is None else yes if value else no


def summary(findings: Sequence[Found], untried: Sequence[str]) -> str:
    """One line of all findings."""
    good = sum(not one.problems for one in findings)
    left, lost = sum(one.survivors for one in findings), sum(one.lost for one in findings)
    return (f"{len(findings)} faults: {good} within every bound, {left} processes left, "
            f"{lost} results lost, {len(untried)} not tried")
