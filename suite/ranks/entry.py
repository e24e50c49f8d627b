"""How a worker process begins, how it tells which phase it is in, and how it ends."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from suite.contract.case import SCHEMA_VERSION, Case, Rank
from suite.contract.files import write_atomically
from suite.contract.records import UNPROBED, RankRecord, clean_path

IMPORT, INPUTS, RENDEZVOUS = "import", "inputs", "rendezvous"
PROOF, WARM_UP = "proof", "warm-up"
CLEAN, TIMED, TRACED, SILENT = "clean steps", "timed steps", "traced steps", "silent steps"
SWEEP, PRODUCTS, TEARDOWN, RECORD = "sweep", "matrix products", "teardown", "record"
# Phases that this process has entered, with the time of each (``time.monotonic``).
ENTERED: list[tuple[str, float]] = []
# Called at the begin of each phase; ``suite.ranks.faulty`` plants its faults here.
on_entering: list[Callable[[Rank, str], None]] = []
# Called once a rank is pinned to its cores; a fork takes its pages then.
on_arriving: list[Callable[[], None]] = []
# Which process this one was forked from, if it was (suite.ranks.nursery), and the size that no
# message to such a process has.
forked_from: list[int] = []
MESSAGE_BYTES = 200_000
# Why a rank that was to be forked is a new process.
NOT_FORKED = "SUITE_NOT_FORKED"
# Process id of the harness that started this rank (suite.launch.processes).
HARNESS = "SUITE_HARNESS"


def arrive() -> tuple[Case, Path, Rank]:
    """Reads the process's arguments and pins it to its cores before any framework is imported.

    Threads keep the affinity that the process had when they started, so it has to be set first.
    ``SIGUSR1`` makes the process write the Python stacks of all its threads to ``stack-N.txt``.

    Returns:
        The case, the path of the file that the worker reads, and which rank this process is.
    """
    die_with_parent()
    case_path, inputs_path, folder, index, processes, cores = sys.argv[1:7]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    for call in on_arriving:
        call()
    rank = Rank(int(index), int(processes), Path(folder))
    # Each rank has a file of its own, since stacks of several ranks would mix in one log. It stays
    # open until the process ends. A rank that hangs in its first phase has it already.
    stacks = (rank.folder / f"stack-{rank.index}.txt").open("w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    enter(rank, IMPORT)
    return Case.read(Path(case_path)), Path(inputs_path), rank


def enter(rank: Rank, phase: str) -> None:
    """Writes down which phase begins, so that the harness can say where a launch failed.

    When it began is kept too, and goes into the record as the seconds of each phase.

    Args:
        rank: The rank whose phase it is.
        phase: Name of the phase, such as ``IMPORT``.
    """
    (rank.folder / f"phase-{rank.index}").write_text(phase, encoding="utf-8")
    ENTERED.append((phase, time.monotonic()))
    for call in on_entering:
        call(rank, phase)


def affinity() -> list[int]:
    """Returns the cores that this process may run on; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def how_started() -> dict[str, str]:
    """How this process came to be, for the ledger: also why it could not be a fork."""
    why = os.environ.get(NOT_FORKED, "")
    return {"start": "forked" if forked_from else "fresh"} | ({"not_forked": why} if why else {})


def phases() -> dict[str, float]:
    """Returns the seconds of each phase that this process has entered, the last one until now."""
    ends = [began for _, began in ENTERED[1:]] + [time.monotonic()]
    found: dict[str, float] = {}
    for (name, began), ended in zip(ENTERED, ends, strict=True):
        found[name] = found.get(name, 0.0) + ended - began
    return found


def leave_record(rank: Rank, content: Mapping[str, Any]) -> None:
    """Writes ``rank-N.json`` with the version of its layout, whole or not at all."""
    record = {"schema_version": SCHEMA_VERSION, **content}
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))


def leave_clean(rank: Rank, record: RankRecord, ledger: Mapping[str, str]) -> None:
    """Writes ``clean-N.json``: what the rank has measured before the passes with probes.

    The launch counts by it should memory run out in one of those.

    Args:
        rank: The rank that writes.
        record: Its record so far.
        ledger: What it finds of how it computes.
    """
    found = {**ledger, **how_started(), UNPROBED: "out of memory after the clean steps"}
    written = asdict(replace(record, ledger=found, affinity=affinity()))
    write_atomically(clean_path(rank.folder, rank.index), json.dumps(written))


@contextmanager
def swift_start() -> Iterator[None]:
    """Saves time while frameworks are imported and a session is built.

    It stops the garbage collector, which spends a fifth of an import on a million objects that all
    stay. It also hides scikit-learn: Keras, which TensorFlow imports, would import it and SciPy
    only to wrap it for others.
    """
    gc.disable()
    blocked = sys.modules.setdefault("sklearn", None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if blocked:
            del sys.modules["sklearn"]
        gc.enable()


@contextmanager
def last_words(rank: Rank) -> Iterator[None]:
    """Ends a rank that fails at once, with its traceback, and leaves ``failure-N.json``.

    Leaving the group in order would not work: it waits for the other ranks, which wait for this
    one, and gloo's threads abort an interpreter that exits in the middle of a collective. The
    other ranks soon fail too, because they lose this one. Each failure therefore has its time
    (``time.monotonic``, one clock for all processes of a host), which tells which was the first.

    Args:
        rank: The rank that runs inside.
    """
    try:
        yield
    except Exception as error:
        words = traceback.format_exception_only(error)[-1].strip()
        failure = {"raised_at_s": time.monotonic(), "error": words}
        write_atomically(rank.folder / f"failure-{rank.index}.json", json.dumps(failure))
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def leave() -> None:
    """Ends the process, once its record is written, without the interpreter's usual exit.

    Framework threads may crash at interpreter exit (gloo aborts now and then while its futures
    still hold Python callbacks), which must not turn a success into a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent() -> None:
    """Makes Linux kill this process when its parent dies (prctl(2), PR_SET_PDEATHSIG).

    A harness that was killed then leaves no worker behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        _end_if_orphaned()


def die_with(parent: int) -> None:
    """Makes Linux kill this fork when its parent dies, which may have happened before it asks."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end_if_orphaned() -> None:
    """Ends this process if the harness died before the kernel was asked for a signal."""
    harness = int(os.environ.get(HARNESS, "0"))
    if not harness or os.getppid() == harness:
        return
    try:
        os.kill(harness, 0)
    except ProcessLookupError:
        os._exit(1)
    except PermissionError:
        return
