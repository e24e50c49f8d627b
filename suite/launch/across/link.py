"""A follower as the harness sees it: its connection, and the ranks on its host."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from suite.contract.clocks import ClockOffset, RoundTrip, best_offset
from suite.contract.files import write_atomically
from suite.launch.across.channel import (
    SILENCE_SECONDS,
    Message,
    give_up_when_unanswered,
    hang_up,
    receive,
    send,
    store,
)
from suite.launch.group import LaunchError

# How long an engine may take to start the followers, and a follower to answer.
START_SECONDS, ANSWER_SECONDS = 90.0, 45.0
POLL_SECONDS = 0.05
CLOCK_ROUNDS = 20
FAILURE = re.compile(r"failure-\d+\.json")


class RemoteRank:
    """A rank on another host; its exit code comes by message."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        """Returns the exit code, once the follower has told it."""
        return self.code


@dataclass
class Link:
    """A follower: its connection, what it said of its host, and what it has told since."""

    connection: Connection
    about: dict[str, Any]
    answers: queue.Queue[Message] = field(default_factory=queue.Queue)
    ranks: dict[int, RemoteRank] = field(default_factory=dict)
    folder: Path | None = None
    clock: ClockOffset | None = None
    heard_at: float = field(default_factory=time.monotonic)
    lost: str = ""

    @property
    def name(self) -> str:
        """What the host calls itself."""
        return str(self.about["name"])

    def listen(self) -> None:
        """Takes messages in until the connection ends; runs in a thread of its own."""
        try:
            while True:
                self._take(receive(self.connection))
        except (EOFError, OSError, ValueError, KeyError) as error:
            self.connection.close()
            self.lost = self.lost or f"{type(error).__name__}: {error}".rstrip(": ")

    def _take(self, message: Message) -> None:
        self.heard_at = time.monotonic()
        if message.kind == "file":
            if self.folder:
                self._store(self.folder, message)
        elif message.kind == "exit":
            self.ranks[message.fields["rank"]].code = message.fields["code"]
        elif message.kind != "beat":
            self.answers.put(message)

    def _store(self, folder: Path, message: Message) -> None:
        """Keeps a file; the time of a rank's failure comes onto the harness's clock.

        Which rank failed first is told by these times.
        """
        store(folder, message)
        path = folder / message.fields["name"]
        if self.clock and FAILURE.fullmatch(path.name) and path.exists():
            failure = json.loads(path.read_text(encoding="utf-8"))
            failure["raised_at_s"] = self.clock.moved(failure["raised_at_s"])
            write_atomically(path, json.dumps(failure))

    def problem(self) -> str:
        """Says why the host cannot be relied on any more; empty while it can."""
        silent = time.monotonic() - self.heard_at
        if self.lost:
            return f"the connection to host {self.name} ended ({self.lost})"
        if silent > SILENCE_SECONDS:
            return f"host {self.name} has not been heard of for {silent:.0f} s"
        return ""

    def tell(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        """Sends a message; raises :class:`LaunchError` where the host is gone."""
        try:
            send(self.connection, kind, payload, **fields)
        except OSError as error:
            raise LaunchError(f"host {self.name} cannot be reached ({error})") from error

    def answer(self, kind: str, seconds: float = ANSWER_SECONDS) -> Message:
        """Waits for an answer of that kind; raises :class:`LaunchError` if none comes in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.problem():
            with suppress(queue.Empty):
                message = self.answers.get(timeout=0.05)
                if message.kind == "refused":
                    raise LaunchError(f"host {self.name}: {message.fields['reason']}")
                if message.kind == kind:
                    return message
        raise LaunchError(self.problem() or f"host {self.name} did not answer in {seconds:g} s")

    def offset(self) -> ClockOffset:
        """Measures how far this follower's clock is ahead, by the fastest round trip."""
        return best_offset([self._asked() for _ in range(CLOCK_ROUNDS)])

    def _asked(self) -> RoundTrip:
        sent = time.perf_counter()
        self.tell("clock")
        there = self.answer("time").fields
        return RoundTrip(
            sent, time.perf_counter(), time.time(), float(there["seconds"]), float(there["date"])
        )


def gather(
    door: socket.socket, key: bytes, count: int, problem: Callable[[], str],
    patience_s: float = START_SECONDS,
) -> list[Link]:
    """Waits until the followers of all hosts have joined.

    Args:
        door: The listening socket.
        key: What a follower has to prove that it knows, as the harness proves it to the follower.
        count: How many followers there will be.
        problem: Says why no more will come, in words; empty while they may.
        patience_s: How long to wait.

    Returns:
        The followers in the order of the places that the engine gave them.

    Raises:
        LaunchError: They did not all come.
    """
    joined: queue.Queue[Link] = queue.Queue()
    links: list[Link] = []
    deadline = time.monotonic() + patience_s
    door.settimeout(POLL_SECONDS)
    while len(links) < count:
        with suppress(TimeoutError):
            visitor, _ = door.accept()
            threading.Thread(target=_welcome, args=(visitor, key, joined), daemon=True).start()
        with suppress(queue.Empty):
            while True:
                links.append(joined.get_nowait())
        if len(links) < count and (said := problem() or _overdue(deadline, len(links), count)):
            for link in links:
                hang_up(link.connection)
            raise LaunchError(said)
    return sorted(links, key=lambda link: int(link.about["number"]))


def _overdue(deadline: float, there: int, count: int) -> str:
    late = time.monotonic() > deadline
    return f"of {count} hosts only {there} joined in {START_SECONDS:g} s" if late else ""


def _welcome(visitor: socket.socket, key: bytes, joined: queue.Queue[Link]) -> None:
    """Lets in whoever knows the key; others are sent away without a word to the log."""
    visitor.setblocking(True)
    connection = Connection(visitor.detach())
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        give_up_when_unanswered(connection)
        link = Link(connection, receive(connection).fields)
    except (AuthenticationError, EOFError, OSError, ValueError):
        connection.close()
        return
    joined.put(link)
    link.listen()
