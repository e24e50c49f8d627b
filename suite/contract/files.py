"""Files that are either whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# A line of a CSV table by column, as it is read or written.
TableRow = dict[str, Any]


def write_atomically(path: Path, text: str) -> None:
    """The file is either whole or absent, whenever the process dies."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
