"""The harness's end of a process that has imported a framework, and of the ranks forked from it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import psutil

from suite.launch.environment import ROOT
from suite.launch.failures import MOST_WORDS
from suite.launch.processes import KILLED_SECONDS, MARK, POLL_SECONDS, marked
from suite.launch.signals import undisturbed
from suite.launch.temporary import temporary_folder
from suite.ranks.entry import HARNESS, MESSAGE_BYTES

NURSERY = "suite.ranks.nursery"
# Importing a framework takes seconds; a nursery that is not ready by then is given up.
READY_SECONDS = 60.0


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
            try:
                self.returncode = self.nursery.code_of(self.pid)
            except NotReady:
                # Its nursery is gone, and so is the rank: the kernel sends it SIGKILL.
                self.returncode = None if self._runs() else -signal.SIGKILL
        return self.returncode

    def _runs(self) -> bool:
        """Tells whether this very process still runs, and not another one with its number."""
        reap(self.pid)
        with contextlib.suppress(psutil.Error):
            return bool(self.is_running() and self.status() != psutil.STATUS_ZOMBIE)
        return False

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
        self.mark, self.ready = uuid.uuid4().hex, False
        self.codes: dict[int, int | None] = {}
        self.forgotten: set[int] = set()
        self.kept = contextlib.ExitStack()
        try:
            temporary = self.kept.enter_context(temporary_folder())
            self.log = temporary / "nursery.log"
            own = {"TMPDIR": str(temporary), MARK: self.mark, HARNESS: str(os.getpid())}
            self._start([python, "-m", NURSERY], modules, {**environment, **own})
        except BaseException:
            self.end()
            raise

    def _start(
        self, command: Sequence[str], modules: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kept.callback(self.channel.close)
        self.channel.settimeout(READY_SECONDS)
        with theirs, self.log.open("ab") as log:
            self.process = psutil.Popen(
                [*command, str(theirs.fileno()), *modules], stdin=DEVNULL, stdout=log, stderr=log,
                cwd=ROOT, env=environment, start_new_session=True, pass_fds=[theirs.fileno()],
            )

    def fork(
        self, worker: str, arguments: Sequence[str], environment: Mapping[str, str],
        folder: Path, log: Path,
    ) -> ForkedRank:
        """Starts a rank.

        Args:
            worker: The module that it runs.
            arguments: The arguments of its command line.
            environment: All of its variables.
            folder: The folder in which it starts.
            log: The file to which its output is appended.

        Raises:
            NotReady: No rank could be started.
        """
        self.await_ready()
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
                try:
                    return ForkedRank(pid, self)
                except psutil.Error as error:
                    raise NotReady(f"its fork is gone: {error}") from None

    def await_ready(self) -> None:
        """Waits until it has imported; it has to be alone in its process to be forked.

        Raises:
            NotReady: It could not import, or what it imports has started threads.
        """
        if self.ready:
            return
        threads = self._hear(time.monotonic() + READY_SECONDS).get("ready")
        if threads != 1:
            raise NotReady(f"what it imports has started threads: {threads} run")
        self.ready = True

    def code_of(self, pid: int) -> int | None:
        """Returns the exit code of a rank; None while it runs.

        Raises:
            NotReady: The nursery is gone.
        """
        while self.codes[pid] is None and self._heard(0.0):
            self._hear(time.monotonic())
        code = self.codes[pid]
        if code is not None and pid not in self.forgotten:
            self.forgotten.add(pid)
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
        """Waits for the next message; exit codes that come first are kept.

        Raises:
            NotReady: None came in time, or none will.
        """
        if not self._heard(ends - time.monotonic()):
            raise NotReady("it did not answer in time")
        try:
            message = self.channel.recv(MESSAGE_BYTES)
        except OSError:  # it has died with a request unread
            message = b""
        if not message:
            raise NotReady(self._last_words())
        told: dict[str, Any] = json.loads(message)
        if "code" in told:
            self.codes[int(told["pid"])] = int(told["code"])
        return told

    def _last_words(self) -> str:
        """Says how the nursery's process ended, and what it wrote last."""
        with contextlib.suppress(psutil.Error):
            self.process.wait(KILLED_SECONDS)
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {said[-1][:MOST_WORDS]}" if said else ""
        return f"what imports for it ended with code {self.process.poll()}{last}"

    def strays(self) -> list[psutil.Process]:
        """Processes that ranks have forked and left: they carry the nursery's mark."""
        known = {self.process.pid, *self.codes}
        return [process for process in marked(self.mark) if process.pid not in known]

    def end(self) -> None:
        """Ends it with all that it has started."""
        with undisturbed():
            with contextlib.suppress(psutil.Error, OSError, AttributeError):  # may not have started
                self.process.kill()
                self.process.wait(KILLED_SECONDS)
            for process in marked(self.mark):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            for pid in self.codes:
                reap(pid)
            self.kept.close()


def reap(pid: int) -> None:
    """Ends a zombie that came to this process, as orphans do in a container where it is the first.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
