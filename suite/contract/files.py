"""Files that are either whole or absent."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

# A line of a CSV table as it is read or written: column to value.
TableRow = dict[str, Any]


def write_atomically(path: Path, text: str) -> None:
    """Writes a file such that it is either whole or absent, whenever the process may die."""
    part = path.with_suffix(path.suffix + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        # On a full disk the beginning of a file would take the room of the next one.
        with suppress(OSError):
            part.unlink()
        raise
