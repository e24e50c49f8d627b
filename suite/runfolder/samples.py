"""``samples.sqlite``: every launch of a run, appended once and read again case by case.

The ranks' records are large, because they hold what the probes measured in every step. This file
holds of each launch its samples (float64 seconds), the other fields of its records, and the figures
computed from its probes. It can be made again from the records.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic_core import from_json

from suite.analysis.communication import missing_reason
from suite.analysis.traced import ProbedLaunch
from suite.contract.case import SCHEMA_VERSION
from suite.contract.records import RECORD_FIELDS, Launch, RankRecord, StepTrace
from suite.contract.row import NAMES

FILE = "samples.sqlite"
PASSES = {
    "clean": "step_seconds", "timed": "timed_step_seconds", "traced": "traced_step_seconds",
    "silent": "silent_step_seconds",
}
# The JSON text of a launch holds all fields of its records except the samples of the passes.
TEXT_FIELDS = tuple(name for name in RECORD_FIELDS if name not in PASSES.values())
SCHEMA = """
CREATE TABLE IF NOT EXISTS launch (
    case_id TEXT, launch INTEGER, content TEXT, PRIMARY KEY (case_id, launch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
    case_id TEXT, launch INTEGER, rank INTEGER, pass TEXT, seconds BLOB,
    PRIMARY KEY (case_id, launch, rank, pass)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""
StepRow = tuple[str, int, int, int, str, float]


@dataclass(frozen=True)
class StoredLaunch:
    """A launch in its compact form: how it ended, its records, and the figures of its probes."""

    case_id: str
    block: int
    outcome: dict[str, Any]
    records: list[RankRecord]
    reduced: ProbedLaunch | None


def compact(records: Launch) -> list[RankRecord]:
    """Returns the records without what the probes measured in each step.

    The clean steps become an array of seconds, and of the warm-up only the first step is kept. One
    empty trace stays if it says why a figure is missing.
    """
    traced = all(record.traces for record in records)
    traces = [StepTrace(missing=missing_reason(records))] if traced else []
    return [
        replace(record, step_seconds=array("d", record.step_seconds), timed_step_seconds=[],
                traced_step_seconds=[], silent_step_seconds=[], traces=traces, profiles=[],
                warmup_seconds=record.warmup_seconds[:1])
        for record in records
    ]


def open_read_only(path: Path) -> sqlite3.Connection:
    """Opens a database so that nothing is written even where that is allowed.

    The path may contain any character.
    """
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)


class SampleStore:
    """The ``samples.sqlite`` of one run; each launch is written in one transaction.

    Args:
        folder: The run folder.
        read_only: Whether to change nothing, for folders that belong to others.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.path = folder / FILE
        if read_only:
            self.connection = open_read_only(self.path)
            return
        self.connection = sqlite3.connect(self.path)
        self.connection.executescript(f"PRAGMA user_version = {SCHEMA_VERSION};" + SCHEMA)

    @staticmethod
    def readable(folder: Path) -> bool:
        """Returns whether the folder has a file of the current version that can be read."""
        if not (folder / FILE).exists():
            return False
        try:
            connection = open_read_only(folder / FILE)
        except sqlite3.Error:
            return False
        try:
            return bool(connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION)
        except sqlite3.DatabaseError:
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()

    def append(self, launch: StoredLaunch, raw: Launch, steps_bytes: int = 0) -> None:
        """Appends a launch.

        Args:
            launch: The launch in its compact form.
            raw: The whole records of its ranks.
            steps_bytes: The size of ``steps.csv`` in bytes, with this launch in it.
        """
        key = (launch.case_id, launch.block)
        samples = [
            (*key, record.rank, name, np.asarray(seconds, float).tobytes())
            for record in raw for name, seconds in _passes(record) if len(seconds)
        ]
        with self.connection:
            self.connection.execute("DELETE FROM samples WHERE case_id = ? AND launch = ?", key)
            self.connection.execute(
                "INSERT OR REPLACE INTO launch VALUES (?, ?, ?)", (*key, _encode(launch))
            )
            self.connection.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", samples)
            self.connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('steps_bytes', ?)", (steps_bytes,)
            )

    def forget(self, case_id: str) -> None:
        """Removes the launches of a case, after which ``steps.csv`` has to be written anew."""
        with self.connection:
            for table in ("samples", "launch"):
                self.connection.execute(f"DELETE FROM {table} WHERE case_id = ?", (case_id,))
        self.set_steps_bytes(-1)

    def set_steps_bytes(self, size: int) -> None:
        """Stores the size in bytes that ``steps.csv`` has with every launch in it."""
        with self.connection:
            self.connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('steps_bytes', ?)", (size,)
            )

    def steps_bytes(self) -> int:
        """Returns the size in bytes that ``steps.csv`` has with every launch in it."""
        query = "SELECT value FROM meta WHERE name = 'steps_bytes'"
        found = self.connection.execute(query).fetchone()
        return int(found[0]) if found else 0

    def launches(self) -> Iterator[StoredLaunch]:
        """Yields every launch, case by case and block by block, with the samples of the clean pass
        alone.
        """
        samples = iter(self.connection.execute(
            "SELECT case_id, launch, rank, seconds FROM samples WHERE pass = 'clean' "
            "ORDER BY case_id, launch, rank"
        ))
        ahead = next(samples, None)
        query = "SELECT case_id, launch, content FROM launch ORDER BY case_id, launch"
        for case_id, block, content in self.connection.execute(query):
            clean: dict[int, array[float]] = {}
            while ahead and ahead[:2] == (case_id, block):
                clean[ahead[2]] = array("d", ahead[3])
                ahead = next(samples, None)
            yield _decode(case_id, block, content, clean)

    def steps(self) -> Iterator[StepRow]:
        """Yields the rows of ``steps.csv``, reading a part of the file at a time."""
        query = ("SELECT case_id, launch, rank, pass, seconds FROM samples "
                 "ORDER BY case_id, launch, rank, pass")
        for case_id, block, rank, name, blob in self.connection.execute(query):
            for step, seconds in enumerate(np.frombuffer(blob).tolist()):
                yield case_id, block, rank, step, name, seconds


def step_rows(case_id: str, block: int, records: Launch) -> Iterator[StepRow]:
    """Yields a row for each step, rank and pass of a launch.

    Args:
        case_id: The id of the case.
        block: The number of the block.
        records: The records of the launch's ranks.

    Yields:
        Rows of ``steps.csv``, with times in seconds.
    """
    for record in records:
        for name, samples in _passes(record):
            for step, seconds in enumerate(samples):
                yield case_id, block, record.rank, step, name, seconds


def _passes(record: RankRecord) -> Iterator[tuple[str, MutableSequence[float]]]:
    """Yields each pass under its name in the tables, with the seconds of its steps."""
    for name, field in PASSES.items():
        yield name, getattr(record, field)


def _encode(launch: StoredLaunch) -> str:
    content: dict[str, Any] = {
        "outcome": launch.outcome, "records": [_plain(record) for record in launch.records],
    }
    if launch.reduced:
        content["reduced"] = {
            "columns": launch.reduced.columns, "busy": launch.reduced.busy.tolist(),
            "payloads": launch.reduced.payloads, "transfers": launch.reduced.transfers,
        }
    return json.dumps(content, separators=(",", ":"))


def _plain(record: RankRecord) -> dict[str, Any]:
    """Leaves out what is empty or zero, as a missing field is when it is read again."""
    found = {name: value for name in TEXT_FIELDS if (value := getattr(record, name))}
    traces = {"traces": [vars(trace) for trace in record.traces]} if record.traces else {}
    return {"rank": record.rank} | found | traces


def _decode(
    case_id: str, block: int, content: str, clean: dict[int, array[float]]
) -> StoredLaunch:
    written = from_json(content)
    records = [
        RankRecord.read(record | {"step_seconds": clean.get(record["rank"], array("d"))})
        for record in written["records"]
    ]
    found = written.get("reduced")
    if not found:
        return StoredLaunch(case_id, block, written["outcome"], records, None)
    # Another release may have stored a figure that has no column here and cannot be shown.
    columns = {name: value for name, value in found["columns"].items() if name in NAMES}
    reduced = ProbedLaunch(
        columns, np.asarray(found["busy"], float), found["payloads"], found.get("transfers", {})
    )
    return StoredLaunch(case_id, block, written["outcome"], records, reduced)
