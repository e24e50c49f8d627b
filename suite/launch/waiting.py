"""Waits for the ranks of a launch, wherever they run, and says how their group ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from suite.launch import failures, processes
from suite.launch.processes import POLL_SECONDS

# How long the ranks that lost another one may take to end by themselves.
SETTLE_SECONDS = 0.5


class Ending(NamedTuple):
    """How a group ended: status, the reason in words, and when (``time.monotonic``) it was seen."""

    status: str
    reason: str
    noticed_at_s: float

    @classmethod
    def now(cls, status: str, reason: str = "") -> Ending:
        """Makes an ending that is noticed at this moment."""
        return cls(status, reason, time.monotonic())


class Worker(Protocol):
    """A rank's process, on this host or on another."""

    def poll(self) -> int | None:
        """Its exit code once it has ended, as ``subprocess.Popen.poll`` gives it."""


Watch = Callable[[], Ending | None]


def wait(
    workers: Sequence[Worker], folder: Path, timeout_seconds: float, *, began: float,
    expects_records: bool, watch: Watch,
) -> Ending:
    """Waits for the end of a group.

    A rank that dies ends the group: the others would wait for it forever.

    Args:
        workers: The ranks, in their order.
        folder: The launch's folder, where ranks leave phases, failures and records.
        timeout_seconds: How long after ``began`` a group that has not finished is given up.
        began: When the launch began (``time.monotonic``).
        expects_records: Whether a rank that ends in order has to have left its record.
        watch: Asked again and again; what it returns ends the group, unless it is None.

    Returns:
        How the group ended, or why it has to be ended.
    """
    while True:
        if said := watch():
            return said
        codes = [worker.poll() for worker in workers]
        # First, because the others fail soon after it, and with an error of their own.
        if expects_records and (rank := _empty_handed(folder, codes)) is not None:
            return Ending.now("failed", failures.left_without_record(rank, folder))
        if any(codes):
            seen = time.monotonic()
            return Ending("failed", failures.first_failure(_settled(workers), folder), seen)
        if all(code == 0 for code in codes):
            return Ending.now("ok")
        if time.monotonic() > began + timeout_seconds:
            return Ending.now("timeout", f"not finished after {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)


def flooded(folder: Path) -> str:
    """Says by how much the ranks' log is too long; empty while it is not."""
    limit = processes.LOG_LIMIT_BYTES
    too_long = (folder / "worker.log").stat().st_size > limit
    return f"more than {limit >> 20} MiB of log" if too_long else ""


def _settled(workers: Sequence[Worker]) -> list[int | None]:
    """Returns the exit codes once the ranks that a lost rank takes with it have ended too."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return [worker.poll() for worker in workers]


def _empty_handed(folder: Path, codes: Sequence[int | None]) -> int | None:
    """Returns the first rank that ended with code 0 without having written its record."""
    ended = [rank for rank, code in enumerate(codes) if code == 0]
    return next((r for r in ended if not (folder / f"rank-{r}.json").exists()), None)
