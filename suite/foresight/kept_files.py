"""Files in which a user's measurements of a machine are kept: a list, with the schema it is of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from suite.contract.errors import UsageError
from suite.contract.files import write_atomically

Kept = TypeVar("Kept")


def write_kept(path: Path, name: str, schema: int, entries: Sequence[dict[str, Any]]) -> None:
    """Stores entries under a name, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"schema": schema, name: list(entries)}, indent=1))


def read_kept(
    path: Path, name: str, schema: int, make: Callable[[dict[str, Any]], Kept], fix: str
) -> list[Kept]:
    """What ``write_kept`` stored; nothing if there is no such file.

    Args:
        path: The file.
        name: Name of the entries.
        schema: The schema that is known.
        make: Makes one of an entry.
        fix: What to do about another file, for the message.

    Raises:
        UsageError: The file is not one of these.
    """
    if not path.exists():
        return []
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["schema"] != schema:
            raise ValueError(f"schema {held['schema']}")
        return [make(one) for one in held[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(str(path), str(error), f"{name} of schema {schema}", fix) from error
