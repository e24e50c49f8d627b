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
    "where it runs": 24, "fault": 15, "where": 19, "noticed": 8, "ended": 8, "row": 12,
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


class SoakRound(Protocol):
    """What the lines of a round show (``suite.measure.soak.Round``)."""

    @property
    def number(self) -> int: ...
    @property
    def cases(self) -> int: ...
    @property
    def launches(self) -> int: ...
    @property
    def faults(self) -> list[str]: ...
    @property
    def survivors(self) -> int: ...
    @property
    def leaks(self) -> list[str]: ...
    @property
    def problems(self) -> list[str]: ...
    @property
    def resident_bytes(self) -> int: ...


def round_lines(one: SoakRound) -> list[str]:
    """Returns a line for a round of the soak, and one for each thing that went wrong in it."""
    memory = f"{one.resident_bytes >> 20} MiB"
    head = (f"round {one.number}: {one.cases} cases, {one.launches} launches, "
            f"{len(one.faults)} faults, {one.survivors} processes left, harness {memory}")
    faults = [f"    {fault}" for fault in one.faults]
    return [head, *faults, *(f"    NOT AS IT SHOULD BE: {words}"
                             for words in (*one.problems, *one.leaks))]


def soak_summary(rounds: Sequence[SoakRound], grown_bytes: int, trend: bool) -> str:
    """Returns one line on all rounds; ``trend`` says whether the growth is more than noise."""
    problems = sum(len(one.problems) for one in rounds)
    return (
        f"{len(rounds)} rounds: {sum(one.cases for one in rounds)} cases, "
        f"{sum(one.launches for one in rounds)} launches, "
        f"{sum(len(one.faults) for one in rounds)} faults, "
        f"{sum(one.survivors for one in rounds)} processes left, "
        f"{sum(len(one.leaks) for one in rounds)} leaks (processes, ports, descriptors, files), "
        f"{problems} results that are not as they should be; harness "
        f"{grown_bytes / 2**20:+.1f} MiB{' and growing' if trend else ''}"
    )
