"""Messages between the harness and its followers: JSON, with bytes behind where a file travels.

``multiprocessing.connection`` authenticates both ends with a key that they share and frames the
messages. Nothing is pickled, so a message can run no code.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from suite.contract.errors import UsageError

# The variable with the shared key, in hexadecimal digits.
KEY = "SUITE_JOIN_KEY"
# A host that is cut off answers nothing; the kernel then gives its connection up after this long.
UNANSWERED_SECONDS = 8.0
# How often a follower says that it is there, and how long its silence may last.
BEAT_SECONDS, SILENCE_SECONDS = 1.0, 6.0
LONGEST_HEADER_BYTES, CHUNK_BYTES, LONGEST_PAYLOAD_BYTES = 1 << 20, 1 << 20, 1 << 31
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Message:
    """What one side tells the other: a kind, its fields, and bytes of a file."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


def join_key(environment: Mapping[str, str] = os.environ) -> bytes:
    """Returns the key that all hosts of a run share.

    Raises:
        UsageError: There is none in the environment.
    """
    if not environment.get(KEY):
        raise UsageError(f"environment variable {KEY}", "", "the key that all hosts of the run "
                         "share", f"set it to the same random text on each: export {KEY}=…")
    return environment[KEY].encode()


def send(connection: Connection, kind: str, payload: bytes = b"", **fields: Any) -> None:
    """Sends a message; raises OSError where the other side is gone."""
    header = {"kind": kind, "payload": bool(payload), "fields": fields}
    connection.send_bytes(json.dumps(header).encode())
    if payload:
        connection.send_bytes(payload)


def receive(connection: Connection) -> Message:
    """Waits for the next message and returns it.

    Raises:
        EOFError: The other side has closed the connection.
        OSError: The connection broke.
        ValueError: What came is no message.
    """
    header = json.loads(connection.recv_bytes(LONGEST_HEADER_BYTES))
    payload = connection.recv_bytes(LONGEST_PAYLOAD_BYTES) if header["payload"] else b""
    return Message(header["kind"], header["fields"], payload)


def give_up_when_unanswered(connection: Connection) -> None:
    """Has the kernel break the connection once sent bytes stay unacknowledged (tcp(7))."""
    with socket.socket(fileno=os.dup(connection.fileno())) as view:
        milliseconds = int(1000 * UNANSWERED_SECONDS)
        view.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        view.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def hang_up(connection: Connection) -> None:
    """Ends a connection that another thread may be reading, which then reads its end."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as view:
        view.shutdown(socket.SHUT_RDWR)


def own_address(connection: Connection) -> str:
    """Returns the address of this end, at which the other end reaches this host."""
    with socket.socket(fileno=os.dup(connection.fileno())) as view:
        return str(view.getsockname()[0])


def plain(name: str) -> str:
    """Checks that a name is that of a file directly in the launch's folder, and returns it.

    Raises:
        ValueError: It is no such name, and could lead out of the folder.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain file name")
    return name


def store(folder: Path, message: Message) -> None:
    """Writes the bytes of a ``file`` message where they belong; a file is whole or absent.

    A log only grows: its bytes are appended as they come.
    """
    name = plain(message.fields["name"])
    if message.fields["grows"]:
        with (folder / name).open("ab") as log:
            log.write(message.payload)
        return
    part = folder / f"{name}.part"
    with part.open("wb" if message.fields["offset"] == 0 else "ab") as file:
        file.write(message.payload)
    if message.fields["last"]:
        part.replace(folder / name)
