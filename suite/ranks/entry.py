"""How a worker process begins and ends."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.contract.case import Case, Rank
from suite.contract.files import write_atomically


def arrive() -> tuple[Case, Path, Rank]:
    """Pins this process before anything is imported; the case, what it reads, and its rank."""
    _die_with_parent()
    case_path, inputs_path, folder, index, processes, cores = sys.argv[1:7]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    rank = Rank(int(index), int(processes), Path(folder))
    return Case.read(Path(case_path)), Path(inputs_path), rank


@contextmanager
def swift_start() -> Iterator[None]:
    """While frameworks are imported and a session is built: without what only costs time.

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

    Leaving the group would wait for the others, who wait for this rank; an interpreter that exits
    in the middle of a collective is aborted by gloo's threads. The others soon fail too, since they
    lose this one: the times (``time.monotonic``, one clock for a host's processes) tell whose
    failure was the first.
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
    futures still hold Python callbacks) must not turn it into a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_parent() -> None:
    """A harness that was killed must leave no worker behind (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
