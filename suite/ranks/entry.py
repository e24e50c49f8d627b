"""How a worker process begins, says where it is, and ends."""

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
from pathlib import Path
from typing import Any

from suite.contract.case import SCHEMA_VERSION, Case, Rank
from suite.contract.files import write_atomically

IMPORT, RENDEZVOUS, PROOF, WARM_UP = "import", "rendezvous", "proof", "warm-up"
CLEAN, TIMED, TRACED, SILENT = "clean steps", "timed steps", "traced steps", "silent steps"
TEARDOWN, RECORD = "teardown", "record"
# Called at the begin of each phase; ``suite.ranks.faulty`` plants its faults here.
on_entering: list[Callable[[Rank, str], None]] = []
# Process id of the harness that started this rank (suite.launch.processes).
HARNESS = "SUITE_HARNESS"


def arrive() -> tuple[Case, Path, Rank]:
    """Pins this process to its cores before anything is imported.

    Threads that a framework starts keep the affinity of the moment they start, so it has to be set
    first. ``SIGUSR1`` makes the process write all its threads' Python stacks to ``stack-N.txt``.

    Returns:
        The case, the path of the file that the worker reads, and which rank this process is.
    """
    _die_with_parent()
    case_path, inputs_path, folder, index, processes, cores = sys.argv[1:7]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    rank = Rank(int(index), int(processes), Path(folder))
    # A file a rank: stacks of several ranks in one log would run into each other. It stays open.
    # Before the first phase, so that a rank that hangs there can still say where.
    stacks = (rank.folder / f"stack-{rank.index}.txt").open("w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    enter(rank, IMPORT)
    return Case.read(Path(case_path)), Path(inputs_path), rank


def enter(rank: Rank, phase: str) -> None:
    """Leaves the name of the phase that begins, for whoever has to say where a launch failed."""
    (rank.folder / f"phase-{rank.index}").write_text(phase, encoding="utf-8")
    for call in on_entering:
        call(rank, phase)


def leave_record(rank: Rank, content: Mapping[str, Any]) -> None:
    """Writes ``rank-N.json`` with the version of its layout, whole or not at all."""
    record = {"schema_version": SCHEMA_VERSION, **content}
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))


@contextmanager
def swift_start() -> Iterator[None]:
    """Saves time while frameworks are imported and a session is built.

    Collecting garbage among a million objects that all stay takes a fifth of an import. Keras,
    which TensorFlow imports, imports scikit-learn, and with it SciPy, only to wrap it for others.
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
    """A rank that fails ends at once, with its traceback, and leaves ``failure-N.json``.

    Leaving the group in order would wait for the others, who wait for this rank; an interpreter
    that exits in the middle of a collective is aborted by gloo's threads. The others soon fail too,
    since they lose this rank. The time of each failure (``time.monotonic``, which is one clock for
    all processes of a host) tells which failure was the first.
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
    """Ends the process once its record is whole.

    A framework's threads that die badly at interpreter exit (gloo aborts now and then while its
    futures still hold Python callbacks) must not turn a success into a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_parent() -> None:
    """A harness that was killed must leave no worker behind (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        _end_if_orphaned()


def _end_if_orphaned() -> None:
    """A harness that died before the call above sends no signal any more."""
    harness = int(os.environ.get(HARNESS, "0"))
    if not harness or os.getppid() == harness:
        return
    try:
        os.kill(harness, 0)
    except ProcessLookupError:
        os._exit(1)
    except PermissionError:
        return
