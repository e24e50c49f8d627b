"""The records that the ranks of a launch leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rank_number(path: Path) -> int:
    """``rank-10.json`` -> 10."""
    return int(path.stem.partition("-")[2])


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every ``rank-N.json`` of a launch in the order of ranks: 10 comes after 9, not after 1.

    Raises:
        ValueError: A record is truncated or no JSON object.
    """
    paths = sorted(folder.glob("rank-*.json"), key=rank_number)
    return [_record(path) for path in paths]


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"the record {path.name} is no whole JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"the record {path.name} is no JSON object")
    return record
