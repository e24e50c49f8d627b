"""A rank with a planted fault: ``suite.ranks.train`` as ``selftest`` launches it.

    SUITE_PLANTED_FAULT='{"kind": …}' python -m suite.ranks.faulty CASE_JSON INPUTS_NPZ …

No other command names this module, and without the variable it ends with an error.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np

from suite.contract.case import PARITY_STEPS, Case, Rank
from suite.contract.faults import MOMENT, PHASES, VARIABLE, Fault
from suite.contract.files import write_atomically
from suite.ranks import entry, train

# In a collective: the rank that is hit has to be in it, so the others come late to it.
HIT_SECONDS, LATE_SECONDS = 0.5, 1.5
# One process that drives all devices waits for nobody: it is hit while its steps run.
ALONE_SECONDS = 0.05
ROOM_BYTES, CHUNK_BYTES = 256 << 20, 64 << 20
STUBBORN = ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            "print('ready', flush=True); time.sleep(1800)")


def main() -> None:
    """Entry point of the process."""
    fault = Fault.read(os.environ[VARIABLE])
    if fault.kind == "nan":
        sys.argv[2] = str(_spoiled(fault))
    else:
        entry.on_entering.append(partial(_meet, fault))
    train.main()


def _spoiled(fault: Fault) -> Path:
    """A copy of the batches with one of NaN: the first, or the first that no proof sees."""
    case, folder, rank = Case.read(Path(sys.argv[1])), Path(sys.argv[3]), int(sys.argv[4])
    batch = case.spec.global_batch
    with np.load(sys.argv[2]) as arrays:
        whole = len(arrays["features"]) // batch * batch
        # Batches come round; more rounds give the proof the same ones, and steps after it others.
        rounds = PARITY_STEPS * batch // whole + 1
        features, targets = (np.concatenate([arrays[name][:whole]] * rounds)
                             for name in ("features", "targets"))
    first = 0 if fault.phase == "warm-up" else PARITY_STEPS * batch
    # In every rank, since not every rank of every split reads features.
    features[first : first + batch] = np.nan
    if rank == fault.rank:
        _note_moment(folder)
    path = folder / f"spoiled-{rank}.npz"
    np.savez(path, features=features, targets=targets)
    return path


def _meet(fault: Fault, rank: Rank, phase: str) -> None:
    """Called at the begin of every phase, in every rank."""
    if phase != PHASES[fault.phase]:
        return
    if fault.phase == "collective":
        _meet_in_collective(fault, rank)
    elif rank.index == fault.rank:
        _strike(fault, rank)


def _meet_in_collective(fault: Fault, rank: Rank) -> None:
    if fault.kind == "deadlock":
        if rank.index == fault.rank:
            _strike(fault, rank)
    elif rank.index == fault.rank:
        after = HIT_SECONDS if rank.processes > 1 else ALONE_SECONDS
        timer = threading.Timer(after, _strike, (fault, rank))
        timer.daemon = True
        timer.start()
    else:
        time.sleep(LATE_SECONDS)


def _strike(fault: Fault, rank: Rank) -> None:
    _note_moment(rank.folder)
    STRIKES[fault.kind](rank)


def _note_moment(folder: Path) -> None:
    write_atomically(folder / MOMENT, json.dumps({"began_at_s": time.monotonic()}))


def fail(_rank: Rank) -> None:
    raise RuntimeError("planted: an exception")


def leave_early(_rank: Rank) -> None:
    os._exit(0)


def kill_itself(_rank: Rank) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_itself(_rank: Rank) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def compute_for_ever(_rank: Rank) -> None:
    while True:
        pass


def wait_for_ever(_rank: Rank) -> None:
    """A lock that its holder asks for once more is never given."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def exhaust_memory(rank: Rank) -> None:
    """Allocates under a limit of this process until its allocator says no, which is the fault."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    held = []
    try:
        while True:
            held.append(np.ones(CHUNK_BYTES, np.uint8))
    except MemoryError:
        _note_moment(rank.folder)
        raise


def leave_half_a_record(rank: Rank) -> None:
    """As a full disk leaves it; the process is gone before it can say more."""
    (rank.folder / f"rank-{rank.index}.json").write_text('{"rank": 1, "step_sec', encoding="utf-8")
    os._exit(0)


def leave_another_versions_record(rank: Rank) -> None:
    record = {"schema_version": 999, "rank": str(rank.index), "steps": {"unit": "ms"}}
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))
    os._exit(0)


def flood_the_log(_rank: Rank) -> None:
    while True:
        os.write(1, b"x" * 99_999 + b"\n")


def leave_a_stubborn_child(_rank: Rank) -> None:
    """In a session of its own, so that no signal to the rank's group reaches it."""
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE,
                             start_new_session=True)
    if child.stdout:
        child.stdout.readline()
    raise RuntimeError("planted: an exception, with a process left behind")


STRIKES = {
    "raise": fail, "exit": leave_early, "kill": kill_itself, "stop": stop_itself,
    "hang": compute_for_ever, "deadlock": wait_for_ever, "memory": exhaust_memory,
    "truncated": leave_half_a_record, "version": leave_another_versions_record,
    "flood": flood_the_log, "grandchild": leave_a_stubborn_child,
}


if __name__ == "__main__":
    main()
