"""Reads files that anybody may have written or cut off; errors say what is wrong with them."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from suite.contract.errors import UsageError

LARGEST_BYTES = 256 << 20
RESTORE = "restore the file, or run it again"
Model = TypeVar("Model")
CHECKERS: dict[Any, TypeAdapter[Any]] = {}


def checked(path: Path, where: str, model: type[Model], content: Any, fix: str = RESTORE) -> Model:
    """Checks the content of a file against a type.

    Args:
        path: The file that it was read from.
        where: The place in the file, ending with a point; empty for the whole file.
        model: A type that pydantic can check.
        content: What was read.
        fix: Says in the error how the file can be mended.

    Returns:
        The content as an instance of ``model``.

    Raises:
        UsageError: For the first field that is wrong.
    """
    try:
        found: Model = _checker(model).validate_python(content)
        return found
    except ValidationError as error:
        first = error.errors()[0]
        place = where + ".".join(str(part) for part in first["loc"])
        got = textwrap.shorten(repr(first["input"]), 60)
        expected = first["msg"].removeprefix("Input should be ")
        raise UsageError(f"{path}: {place}", got, expected, fix) from None


def _checker(model: Any) -> TypeAdapter[Any]:
    """Builds the check of a type once, which takes milliseconds; a run has many cases."""
    if model not in CHECKERS:
        CHECKERS[model] = TypeAdapter(model)
    return CHECKERS[model]


def read_text(path: Path, what: str, fix: str = RESTORE) -> str:
    """Returns the text of a file.

    Args:
        path: The file.
        what: What the user calls it, for the error message.
        fix: Says in the error how it can be mended.

    Raises:
        UsageError: If the file cannot be read, is not UTF-8, or has more than ``LARGEST_BYTES``.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(what, str(path), f"at most {LARGEST_BYTES >> 20} MiB", fix)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(what, str(path), f"text in UTF-8 ({error.reason})", fix) from None


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Args:
        path: The file.
        what: What the user calls it, for the error message.

    Raises:
        UsageError: If the file cannot be read or holds no JSON object.
    """
    try:
        content = _parsed(read_text(path, what, "name another file"))
    except OSError as error:
        reason = error.strerror or str(error)
        fix = f"name a folder under results/ ({reason})"
        raise UsageError(what, str(path.parent), f"a run folder with {path.name}", fix) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(what, str(path), "valid JSON", str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(what, str(path), "a JSON object", "name another folder")
    return content


def _parsed(text: str) -> Any:
    """Parses JSON; by Python's own parser only what the fast one does not take.

    That is half a character of a command line that is no UTF-8, and what is no JSON.
    """
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


def read_table(path: Path, needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with every cell as text; none if there is no file.

    Args:
        path: The file.
        needed: The columns that it must have.

    Raises:
        UsageError: If the file is no table, lacks a column, or ends within a row.
    """
    if not path.exists():
        return []
    try:
        reader = csv.DictReader(read_text(path, "table").splitlines(keepends=True))
        rows = list(reader)
    except csv.Error as error:
        raise UsageError("table", str(path), f"CSV ({error})", RESTORE) from None
    if not reader.fieldnames and not needed:
        raise UsageError("table", str(path), "CSV with a line of names, not an empty file", RESTORE)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError("table", str(path), f"the columns {', '.join(missing)}", RESTORE)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UsageError("table", f"{path}, line {number}", "as many cells as columns", RESTORE)
    return rows
