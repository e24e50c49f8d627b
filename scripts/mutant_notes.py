"""What is known of mistakes that were planted before, so that a call goes on where one ended.

One JSON object a line, appended as it becomes known. A note counts for as long as what it was made
of is the same: the seconds of a file with tests as long as no code has changed, a mistake that was
noticed as long as its module and the file that noticed it, one that survived as long as its module
and every file with tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path

# What noticed a mistake that never ended.
TIME = "time"


class Notes:
    """The notes in ``path`` about the project in ``root``; an absent file has none."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {note["of"]: note for note in map(json.loads, lines)}

    def seconds(self, tests: str) -> float | None:
        """How long a file with tests took without a mistake; None where nobody knows."""
        return self._valid(tests, self._code).get("seconds")

    def keep_seconds(self, tests: str, seconds: float) -> None:
        """Notes how long a file with tests took without a mistake."""
        self._keep(of=tests, state=self._code, seconds=seconds)

    def fate(self, module: str, number: int) -> tuple[str, str] | None:
        """What a mistake was and which file noticed it, "" where none did; None where unknown."""
        note = self.known.get(f"{module}:{number}")
        if not note or note["state"] != self._state(module, note["by"]):
            return None
        return note["what"], note["by"]

    def keep_fate(self, module: str, number: int, what: str, by: str) -> None:
        """Notes which file noticed a mistake: ``TIME`` if it never ended, "" if it survived."""
        self._keep(of=f"{module}:{number}", state=self._state(module, by), what=what, by=by)

    def _valid(self, name: str, state: str) -> dict[str, float]:
        note = self.known.get(name, {})
        return note if note.get("state") == state else {}

    def _keep(self, **note: str | float) -> None:
        self.known[str(note["of"])] = note
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as stream:
            stream.write(json.dumps(note) + "\n")

    def _state(self, module: str, by: str) -> str:
        own = self.root / module
        if by == TIME:
            return _digest([own])
        return _digest([own, *([self.root / by] if by else self._tests)])

    @cached_property
    def _tests(self) -> list[Path]:
        return sorted((self.root / "tests").rglob("*.py"))

    @cached_property
    def _code(self) -> str:
        return _digest([*self._tests, *sorted((self.root / "suite").rglob("*.py"))])


def _digest(files: Iterable[Path]) -> str:
    found = sha256()
    for file in files:
        found.update(file.read_bytes() if file.exists() else b"none")
    return found.hexdigest()[:16]
