"""What a launch or a run must not leave behind: processes, listening ports, descriptors, files."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

# Every process that a self-test starts, and whatever those start, carries this variable. Names that
# begin with SUITE_ are options.
TOKEN = "SELFTEST_OF_SUITE"


@dataclass(frozen=True)
class Held:
    """What this process and those of its self-test hold.

    Attributes:
        processes: Process id and command of each process that carries the self-test's mark.
        ports: TCP ports that these processes or this one listen on.
        descriptors: Open file descriptors of this process.
        files: Entries of the folder for temporary files.
    """

    processes: dict[int, str]
    ports: frozenset[int]
    descriptors: int
    files: frozenset[str]

    def beyond(self, before: Held) -> list[str]:
        """In words, what is held that was not held before."""
        processes = [f"process {pid}: {command}" for pid, command in self.processes.items()
                     if pid not in before.processes]
        ports = [f"port {port}" for port in sorted(self.ports - before.ports)]
        files = [f"temporary {name}" for name in sorted(self.files - before.files)]
        more = self.descriptors - before.descriptors
        return [*processes, *ports, *files, *([f"{more} descriptors"] if more > 0 else [])]


def held(token: str) -> Held:
    """What is held at this moment by the self-test that ``token`` names."""
    processes = carriers(token)
    own = psutil.Process()
    return Held(processes, _listening({own.pid, *processes}), own.num_fds(),
                frozenset(path.name for path in Path(tempfile.gettempdir()).iterdir()))


def carriers(token: str) -> dict[int, str]:
    """Process id -> command of the running processes that carry the self-test's mark."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.pid != os.getpid() and process.environ().get(TOKEN) == token
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())[:80]
    return found


def wait_until_gone(token: str, seconds: float) -> float:
    """Seconds until no process carried the mark any more; at most ``seconds``."""
    began = time.monotonic()
    while carriers(token) and time.monotonic() - began < seconds:
        time.sleep(0.05)
    return time.monotonic() - began


def end_carriers(token: str) -> None:
    """Ends what a failed test of a fault left behind, so that it disturbs nothing else."""
    for pid in carriers(token):
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()


def _listening(pids: set[int]) -> frozenset[int]:
    with contextlib.suppress(psutil.Error, OSError):
        return frozenset(
            one.laddr.port for one in psutil.net_connections("tcp")
            if one.pid in pids and one.status == psutil.CONN_LISTEN and one.laddr
        )
    return frozenset()


@contextmanager
def own_temporary_files(folder: Path) -> Iterator[None]:
    """Temporary files go to ``folder``, where what stays of them can be counted."""
    before, kept = os.environ.get("TMPDIR"), tempfile.tempdir
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = kept
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
