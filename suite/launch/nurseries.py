"""Starts ranks as forks of processes that have imported their framework once.

Importing a framework takes most of a short launch. A nursery imports it, starts no thread, and is
forked for each rank. Every block of a run has nurseries of its own, because launches that share one
also share what a process gets by chance, such as the places of its libraries in memory: between
blocks that chance is drawn anew, as it is between new processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any

import psutil

from suite.contract.case import FORKED
from suite.contract.faults import WORKER as FAULTY
from suite.contract.registry import traits_of
from suite.launch.environment import ROOT
from suite.launch.group import TRAIN, Launcher, LaunchRequest, Outcome, bounded, launch, run_here
from suite.launch.processes import (
    KILLED_SECONDS,
    MARK,
    POLL_SECONDS,
    ProcessGroup,
    RankProcess,
    marked,
)
from suite.launch.temporary import temporary_folder
from suite.machine.memory import available_bytes
from suite.ranks.entry import HARNESS, MESSAGE_BYTES, NOT_FORKED

NURSERY = "suite.ranks.nursery"
# Modules of ranks that a nursery may run; others measure what a new process does.
FORKABLE = (TRAIN, FAULTY)
# With less than this, nurseries do not wait for their next launch: together they hold two or three.
SCARCE_BYTES = 6 << 30
# Importing a framework takes seconds; a nursery that is not ready by then is given up.
READY_SECONDS = 60.0
# Variables that differ from launch to launch and that nothing reads while it is imported: the
# suite's own, and where temporary files go.
OF_A_LAUNCH = ("TMPDIR", "SUITE_*")


class NotReady(Exception):
    """Raised if a nursery cannot be forked; its launch then starts new processes."""


class ForkedRank(psutil.Process):  # type: ignore[misc]
    """A rank that a nursery started: what a harness uses of ``psutil.Popen``."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        super().__init__(pid)
        self.nursery = nursery
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code once it has ended, as ``subprocess.Popen.poll`` gives it."""
        if self.returncode is None:
            self.returncode = self.nursery.code_of(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for its end and returns its exit code.

        Raises:
            psutil.TimeoutExpired: It still runs after ``timeout`` seconds.
        """
        ends = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > ends:
                raise psutil.TimeoutExpired(timeout or 0.0, self.pid)
            time.sleep(POLL_SECONDS)
        return self.returncode


class Nursery:
    """The harness's end of one ``suite.ranks.nursery``.

    Args:
        python: The interpreter of the ranks.
        modules: What it imports.
        environment: Its variables; what it imports reads them once.
    """

    def __init__(
        self, python: str, modules: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.codes: dict[int, int | None] = {}
        self.kept = contextlib.ExitStack()
        temporary = self.kept.enter_context(temporary_folder())
        own = {"TMPDIR": str(temporary), MARK: self.mark, HARNESS: str(os.getpid())}
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, (temporary / "nursery.log").open("ab") as log:
            self.process = psutil.Popen(
                [python, "-m", NURSERY, str(theirs.fileno()), *modules], stdin=DEVNULL,
                stdout=log, stderr=log, cwd=ROOT, env={**environment, **own},
                start_new_session=True, pass_fds=[theirs.fileno()],
            )
        self.ready = False

    def fork(
        self, worker: str, arguments: Sequence[str], environment: Mapping[str, str],
        folder: Path, log: Path,
    ) -> ForkedRank:
        """Starts a rank.

        Args:
            worker: The module that it runs.
            arguments: Those of its command line.
            environment: All of its variables.
            folder: The folder in which it starts.
            log: The file to which its output is appended.

        Raises:
            NotReady: No rank could be started.
        """
        self._await_ready()
        self._send({
            "worker": worker, "arguments": list(arguments), "environment": dict(environment),
            "folder": str(folder), "log": str(log.resolve()),
        })
        ends = time.monotonic() + READY_SECONDS
        while True:
            told = self._hear(ends)
            if "started" in told:
                pid = int(told["started"])
                self.codes[pid] = None
                return ForkedRank(pid, self)

    def _await_ready(self) -> None:
        """Waits until it has imported; it has to be alone in its process to be forked."""
        if self.ready:
            return
        threads = self._hear(time.monotonic() + READY_SECONDS).get("ready")
        if threads != 1:
            raise NotReady(f"what it imports has started threads: {threads} run")
        self.ready = True

    def code_of(self, pid: int) -> int | None:
        """The exit code of a rank; None while it runs.

        A rank whose nursery is gone has been ended with it, as by SIGKILL.
        """
        try:
            while self.codes[pid] is None and self._heard(0.0):
                self._hear(time.monotonic())
        except NotReady:
            return -9 if not psutil.pid_exists(pid) else None
        code = self.codes[pid]
        if code is not None:
            with contextlib.suppress(NotReady):
                self._send({"forget": pid})
        return code

    def _send(self, request: Mapping[str, Any]) -> None:
        try:
            self.channel.send(json.dumps(request).encode())
        except OSError as error:
            raise NotReady(f"its process is gone: {error}") from None

    def _heard(self, seconds: float) -> bool:
        return bool(select.select([self.channel], [], [], max(0.0, seconds))[0])

    def _hear(self, ends: float) -> dict[str, Any]:
        """The next message; exit codes are kept on the way.

        Raises:
            NotReady: None came in time, or none will.
        """
        if not self._heard(ends - time.monotonic()):
            raise NotReady("it did not answer in time")
        message = self.channel.recv(MESSAGE_BYTES)
        if not message:
            raise NotReady(f"its process ended with code {self.process.poll()}")
        told: dict[str, Any] = json.loads(message)
        if "code" in told:
            self.codes[int(told["pid"])] = int(told["code"])
        return told

    def strays(self) -> list[psutil.Process]:
        """Processes that ranks have forked and left: they carry the nursery's mark."""
        known = {self.process.pid, *self.codes}
        return [process for process in marked(self.mark) if process.pid not in known]

    def end(self) -> None:
        """Ends it with all that it has started."""
        self.channel.close()
        with contextlib.suppress(psutil.Error, OSError):
            self.process.kill()
            self.process.wait(KILLED_SECONDS)
        for process in marked(self.mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.kept.close()


class ForkedGroup(ProcessGroup):
    """A group whose ranks are forked from nurseries and whose helpers are new processes."""

    def __init__(
        self, nurseries: Nurseries, request: LaunchRequest, log: IO[bytes],
        environment: dict[str, str], folder: Path,
    ) -> None:
        super().__init__(log, environment, folder)
        self.nurseries, self.request = nurseries, request
        self.used: list[Nursery] = []

    def start(self, command: Sequence[str], extra: dict[str, str]) -> RankProcess:
        """Starts a process: forks it if it is a rank. The parameters are those of the group's."""
        python, _, worker, *arguments = command
        if (python, worker) != (self.request.python, self.request.worker):
            return super().start(command, extra)
        environment = self.environment | extra
        nursery = self.nurseries.nursery_of(self.request, environment)
        rank = nursery.fork(
            worker, arguments, environment, self.folder, Path(self.log.name))
        self.used.append(nursery)
        self.leaders.append(rank)
        return rank

    def _alive(self) -> list[psutil.Process]:
        """A fork shows the variables of its nursery, not the mark of its launch."""
        found = {process.pid: process for process in super()._alive()}
        for nursery in set(self.used):
            found |= {process.pid: process for process in nursery.strays()}
        return list(found.values())


def renew(launcher: Launcher) -> None:
    """Makes a launcher import anew what it forks, if it forks anything."""
    if isinstance(launcher, Nurseries):
        launcher.renew()


@dataclass(frozen=True)
class Key:
    """What two ranks must have in common to be forked from one process."""

    python: str
    modules: tuple[str, ...]
    environment: frozenset[tuple[str, str]]


class Nurseries:
    """A launcher that forks the ranks of those cases that say so, and starts the others anew."""

    def __init__(self) -> None:
        self.found: dict[Key, Nursery] = {}

    def __call__(self, request: LaunchRequest) -> Outcome:
        """Runs a group to its end."""
        if request.worker not in FORKABLE or available_bytes() < SCARCE_BYTES:
            self.renew()  # what is idle gives its memory back
        if request.case.start != FORKED or request.worker not in FORKABLE or request.prefixes:
            return launch(request)
        group = partial(ForkedGroup, self, request)
        try:
            outcome = bounded(request, partial(run_here, group=group))
        except NotReady as error:
            self.renew()
            return launch(replace(request, settings={**request.settings, NOT_FORKED: str(error)}))
        if outcome.status != "ok":
            self.renew()
        return outcome

    def nursery_of(self, request: LaunchRequest, environment: Mapping[str, str]) -> Nursery:
        """The nursery of a rank; it is started if there is none."""
        traits = traits_of(request.case.framework)
        late = (*OF_A_LAUNCH, *traits.late)
        early = {name: value for name, value in environment.items()
                 if not any(fnmatchcase(name, pattern) for pattern in late)}
        modules = tuple(traits.preloaded[request.case.engine])
        key = Key(request.python, modules, frozenset(early.items()))
        if key not in self.found:
            self.found[key] = Nursery(request.python, modules, early)
        return self.found[key]

    def renew(self) -> None:
        """Ends all nurseries: what is launched next imports anew."""
        while self.found:
            self.found.popitem()[1].end()
