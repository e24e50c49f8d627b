"""Keeps the harness's copy of a launch's folder up to date while the launch runs on this host."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from suite.launch.across.channel import CHUNK_BYTES

LOG = "worker.log"
SendFile = Callable[..., None]


class Mirror:
    """Sends what is new in ``folder`` since the last call: files that changed, growth of the log.

    Args:
        folder: The launch's folder on this host.
        send: Called as ``send("file", payload, name=…, …)`` for each piece.
        ignored: Names of files that the harness itself has sent.
    """

    def __init__(self, folder: Path, send: SendFile, ignored: Collection[str]) -> None:
        self.folder, self.send, self.ignored = folder, send, ignored
        self.sent: dict[str, tuple[int, int]] = {}
        self.log_bytes = 0

    def update(self) -> None:
        """Sends everything that has changed; a file that vanishes meanwhile is left out."""
        self._grow()
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.suffix != ".part" and path.name not in self.ignored:
                self._update(path)

    def _update(self, path: Path) -> None:
        try:
            found = path.stat()
            state = (found.st_size, found.st_mtime_ns)
            if path.name == LOG or self.sent.get(path.name) == state:
                return
            content = path.read_bytes()
        except FileNotFoundError:
            return
        self.sent[path.name] = state
        for offset in range(0, max(1, len(content)), CHUNK_BYTES):
            self._piece(path.name, content, offset)

    def _piece(self, name: str, content: bytes, offset: int) -> None:
        ends = offset + CHUNK_BYTES
        place: dict[str, Any] = {"offset": offset, "last": ends >= len(content), "grows": False}
        self.send("file", content[offset:ends], name=name, **place)

    def _grow(self) -> None:
        """Sends the log's new bytes, a chunk at most: a flood must not hold up everything else."""
        path = self.folder / LOG
        if not path.exists() or path.stat().st_size == self.log_bytes:
            return
        with path.open("rb") as log:
            log.seek(self.log_bytes)
            grown = log.read(CHUNK_BYTES)
        self.log_bytes += len(grown)
        self.send("file", grown, name=LOG, offset=0, last=False, grows=True)
