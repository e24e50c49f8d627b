"""Says in words why a launch failed: which rank failed first, in which phase, and why."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MOST_WORDS = 400
# Said of a rank that had done its work when time ran out for another.
DONE = ", done"
# A call in what faulthandler writes.
FRAME = re.compile(r'File "(.+)", line (\d+) in (\S+)')
OUT_OF_MEMORY = (
    "out of memory", "Out of memory", "OutOfMemoryError", "MemoryError", "RESOURCE_EXHAUSTED",
    "ResourceExhaustedError", "Dst tensor is not initialized", "OOM when allocating",
    "can't allocate memory", "std::bad_alloc", "STATUS_ALLOC_FAILED",
)


def first_failure(codes: Sequence[int | None], folder: Path) -> str:
    """Describes the failure that caused the others.

    A killed rank says nothing, while the other ranks complain that they lost it; so a rank that a
    signal ended comes first. ``SIGABRT`` is an exception, because frameworks also use it to end a
    rank that lost another. Among the remaining ranks, the cause is the error that was raised first
    (``suite.ranks.entry.last_words``).

    Args:
        codes: The exit code of each rank, negative for a signal; None if the rank still runs.
        folder: The folder of the launch, with ``failure-N.json``, ``phase-N`` and ``worker.log``.
    """
    failures = {rank: _failure(folder, rank) for rank in range(len(codes))}
    raised = {rank: failure for rank, failure in failures.items() if failure}

    def order(rank: int) -> tuple[bool, bool, float]:
        killed = (codes[rank] or 0) < 0 and codes[rank] != -signal.SIGABRT
        return not killed, rank not in raised, raised.get(rank, {}).get("raised_at_s", 0.0)

    failed = [rank for rank, code in enumerate(codes) if code or rank in raised]
    rank = min(failed, key=order)
    words = raised[rank]["error"] if rank in raised else ""
    if not raised:
        words = _last_error(log_of(folder))
    said = f": {words[:MOST_WORDS]}" if words else ""
    return f"{where(rank, folder)} {_ended(codes[rank])}{said}"


def left_without_record(rank: int, folder: Path) -> str:
    """Describes a rank that ended with exit code 0 but left no record."""
    return f"{where(rank, folder)} ended with code 0 and left no record"


def halted(ranks: Iterable[int], folder: Path) -> str:
    """Describes ranks that a signal had stopped when the launch failed."""
    return ", ".join(f"{where(rank, folder)} was stopped by a signal" for rank in sorted(ranks))


def still_busy(places: Sequence[str], folder: Path) -> str:
    """Says where each rank was at the timeout: ``rank 0 in warm-up (wait, group.py:80), …``.

    Args:
        places: Each rank and its phase.
        folder: Folder of the launch, with the ``stack-N.txt`` that the ranks wrote.
    """
    lines = [_innermost(_stack(rank, folder)) for rank in range(len(places))]
    return ", ".join(f"{place} ({line})" if line else place
                     for place, line in zip(places, lines, strict=True))


def keep_stacks(places: Sequence[str], folder: Path) -> None:
    """Appends the Python stacks that the ranks wrote at the timeout to the log."""
    with (folder / "worker.log").open("a", encoding="utf-8") as log:
        for rank, place in enumerate(places):
            stack = _stack(rank, folder) or (
                "none, the process was over" if place.endswith(DONE) else "not told")
            log.write(f"\nPython stack of {place}:\n{stack}\n")


def _stack(rank: int, folder: Path) -> str:
    """Returns what a rank wrote of its threads when it was asked; empty if it could not."""
    try:
        return (folder / f"stack-{rank}.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _innermost(stacks: str) -> str:
    """Says where the main thread was: ``step, single.py:120``.

    faulthandler writes the threads one after another, the innermost call first; the main thread's
    outermost call is the interpreter's own.
    """
    for thread in stacks.split("\n\n"):
        calls = FRAME.findall(thread)
        if calls and calls[-1][2].startswith("_run_module"):
            path, line, name = calls[0]
            return f"{name}, {Path(path).name}:{line}"
    return ""


def out_of_memory(log: str) -> bool:
    """Returns whether a log says, in the words of a framework or of CUDA, that memory ran out."""
    return any(mark in log for mark in OUT_OF_MEMORY)


def log_of(folder: Path) -> str:
    """Returns the output of the ranks of a launch; empty if it cannot be read."""
    try:
        return (folder / "worker.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def where(rank: int, folder: Path) -> str:
    """Names a rank and the phase that it has entered last."""
    try:
        phase = (folder / f"phase-{rank}").read_text(encoding="utf-8").strip()
    except OSError:
        phase = ""
    return f"rank {rank} in {phase}" if phase else f"rank {rank}"


def _failure(folder: Path, rank: int) -> dict[str, Any]:
    """Returns what a rank wrote about its own failure; empty if it wrote nothing."""
    try:
        return dict(json.loads((folder / f"failure-{rank}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _ended(code: int | None) -> str:
    if code is None:
        return "failed"
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
    return f"ended with {how}"


def _last_error(log: str) -> str:
    """Returns the last line of a traceback, which says more than an exit code does."""
    errors = [line for line in log.splitlines() if _is_error(line)]
    return errors[-1] if errors else ""


def _is_error(line: str) -> bool:
    head = line.split(":", 1)[0]
    return ":" in line and " " not in head and head.endswith(("Error", "Exception", "Exit"))
