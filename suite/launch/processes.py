"""The processes of a launch: each carries a common mark, so that all of them can be ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any, Protocol, cast

import psutil

from suite.ranks.entry import HARNESS

POLL_SECONDS = 0.02
# The time from SIGTERM to SIGKILL, and from there until a process the kernel holds is given up.
GRACE_SECONDS, KILLED_SECONDS = 3.0, 1.5
# A worker that floods its log would fill the disk.
LOG_LIMIT_BYTES = 64 << 20
# How long the ranks may take to write their Python stacks.
STACK_SECONDS = 0.5
# Every process of a launch inherits this variable, even if it moves to another session or parent.
MARK = "SUITE_LAUNCH"


class RankProcess(Protocol):
    """A process of a launch: ``psutil.Popen``, or a fork with the same methods."""

    @property
    def pid(self) -> int:
        """Its process id, which no other process has until ``poll`` has told its end."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, once ``poll`` has told it."""

    def poll(self) -> int | None:
        """Its exit code once it has ended."""

    def send_signal(self, sig: int, /) -> None:
        """Sends it a signal."""

    def status(self) -> str:
        """Returns the state that the kernel reports, such as ``psutil.STATUS_STOPPED``."""

    def io_counters(self) -> Any:
        """Returns what the process has read and written."""


class ProcessGroup:
    """The workers of a launch and their helpers; each of them leads a session of its own."""

    def __init__(self, log: IO[bytes], environment: dict[str, str], folder: Path) -> None:
        self.log, self.folder = log, folder
        self.mark = uuid.uuid4().hex
        self.environment = environment | {MARK: self.mark, HARNESS: str(os.getpid())}
        self.leaders: list[RankProcess] = []

    def start(self, command: Sequence[str], extra: dict[str, str]) -> RankProcess:
        """Starts a process.

        Args:
            command: The program and its arguments.
            extra: Environment variables of this process on top of those of the group.

        Raises:
            OSError: If the program cannot be run.
        """
        process: RankProcess = psutil.Popen(
            list(command), stdin=DEVNULL, stdout=self.log, stderr=self.log, cwd=self.folder,
            env=self.environment | extra, start_new_session=True,
        )
        self.leaders.append(process)
        return process

    def ask_for_stacks(self, workers: Sequence[RankProcess]) -> None:
        """Makes each rank write the Python stacks of its threads to a file (faulthandler,
        SIGUSR1).

        A rank that is stopped has to continue for that moment, because it could not write.
        """
        running = [worker for worker in workers if worker.poll() is None]
        for worker in running:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                worker.send_signal(signal.SIGUSR1)
                worker.send_signal(signal.SIGCONT)
        if running:
            time.sleep(STACK_SECONDS)

    def end(self) -> list[int]:
        """Ends every process of the launch; what floods its log gets no time to go on with that.

        Returns:
            The ids of processes that even SIGKILL did not end in time, because the kernel holds
            them.
        """
        if not self._floods():
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # a stopped process would not see it
            psutil.wait_procs(self._alive(), timeout=GRACE_SECONDS)
        survivors = self._alive()
        if survivors:
            self._signal(signal.SIGKILL)
            _, survivors = psutil.wait_procs(self._alive(), timeout=KILLED_SECONDS)
        if self._floods():
            os.ftruncate(self.log.fileno(), LOG_LIMIT_BYTES)
        return [process.pid for process in survivors]

    def _floods(self) -> bool:
        """Whether the log is longer than anybody reads. Frameworks that handle SIGTERM write
        gigabytes in the seconds that a group has to end by itself.
        """
        return os.fstat(self.log.fileno()).st_size > LOG_LIMIT_BYTES

    def _signal(self, number: signal.Signals) -> None:
        for leader in self.leaders:
            # A leader keeps its process id until it is waited for, so no other group can have it.
            if leader.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader.pid, number)
        for process in self._alive():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _alive(self) -> list[psutil.Process]:
        """Returns the leaders that still run, and all other processes with this launch's mark."""
        leaders = [cast(psutil.Process, leader) for leader in self.leaders
                   if leader.poll() is None]
        own = {leader.pid for leader in self.leaders}
        return leaders + [process for process in marked(self.mark) if process.pid not in own]


def stopped(workers: Sequence[RankProcess]) -> set[int]:
    """Returns the ranks that a signal has stopped."""
    found = set()
    for rank, worker in enumerate(workers):
        with contextlib.suppress(psutil.Error):
            if worker.status() == psutil.STATUS_STOPPED:
                found.add(rank)
    return found


def busiest_writer(workers: Sequence[RankProcess]) -> int:
    """Returns the rank that has written most to files; the first if the system does not tell."""
    written = [0] * len(workers)
    for rank, worker in enumerate(workers):
        with contextlib.suppress(psutil.Error, AttributeError):  # not offered on every system
            written[rank] = worker.io_counters().write_chars
    return written.index(max(written))


def marked(mark: str) -> list[psutil.Process]:
    """Returns the running processes whose environment has the mark of a launch."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes
