"""``samples.sqlite``: every launch of a run, appended once, read again a case at a time.

The ranks' records hold what probes saw of every step and are large; here each launch is its
samples (float64 seconds), its facts and its probes' figures. It can be made again from the records.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.communication import missing_reason
from suite.analysis.traced import Reduced
from suite.contract.case import SCHEMA_VERSION

FILE = "samples.sqlite"
PASSES = {
    "clean": "step_seconds", "timed": "timed_step_seconds", "traced": "traced_step_seconds",
    "silent": "silent_step_seconds",
}
FACTS = (
    "rank", "losses", "open_seconds", "peak_memory_bytes", "device_memory_bytes",
    "matmul_flops_s", "steady", "affinity", "ledger",
)
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
    """How a launch ended (as in ``outcome.json``), its compact records, its probes' figures."""

    case_id: str
    block: int
    outcome: dict[str, Any]
    records: list[dict[str, Any]]
    reduced: Reduced | None


def compact(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what probes saw of each step: one empty trace says why a figure is missing.

    Clean steps become an array of seconds; of the warm-up the first step stays.
    """
    traced = all(record.get("traces") for record in records)
    traces = [{"events": [], "busy": [], "missing": missing_reason(records)}] if traced else []
    return [
        {name: record[name] for name in FACTS if name in record}
        | {"step_seconds": np.asarray(record["step_seconds"], float),
           "warmup_seconds": record["warmup_seconds"][:1], "traces": traces, "profiles": []}
        for record in records
    ]


class Storage:
    """The file of one run; a launch is written in one transaction, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.connection = sqlite3.connect(self.path)
        self.connection.executescript(f"PRAGMA user_version = {SCHEMA_VERSION};" + SCHEMA)

    @staticmethod
    def readable(folder: Path) -> bool:
        """Whether the folder has a file of today's version."""
        if not (folder / FILE).exists():
            return False
        connection = sqlite3.connect(folder / FILE)
        try:
            return bool(connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION)
        except sqlite3.DatabaseError:
            return False
        finally:
            connection.close()

    def close(self) -> None:
        self.connection.close()

    def append(self, launch: StoredLaunch, raw: list[dict[str, Any]], steps_bytes: int = 0) -> None:
        """``raw`` are the ranks' whole records; ``steps_bytes`` the size of steps.csv with them."""
        key = (launch.case_id, launch.block)
        samples = [
            (*key, record["rank"], name, np.asarray(record[field], float).tobytes())
            for record in raw for name, field in PASSES.items() if record[field]
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
        """Drops a case's launches, so that steps.csv has to be written anew."""
        with self.connection:
            for table in ("samples", "launch"):
                self.connection.execute(f"DELETE FROM {table} WHERE case_id = ?", (case_id,))
        self.set_steps_bytes(-1)

    def set_steps_bytes(self, size: int) -> None:
        with self.connection:
            self.connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('steps_bytes', ?)", (size,)
            )

    def steps_bytes(self) -> int:
        """Size that steps.csv has when it holds every launch of this file."""
        query = "SELECT value FROM meta WHERE name = 'steps_bytes'"
        found = self.connection.execute(query).fetchone()
        return int(found[0]) if found else 0

    def launches(self) -> Iterator[StoredLaunch]:
        """Every launch, case by case, blocks in order; samples of the clean pass alone."""
        samples = iter(self.connection.execute(
            "SELECT case_id, launch, rank, seconds FROM samples WHERE pass = 'clean' "
            "ORDER BY case_id, launch, rank"
        ))
        ahead = next(samples, None)
        query = "SELECT case_id, launch, content FROM launch ORDER BY case_id, launch"
        for case_id, block, content in self.connection.execute(query):
            clean: dict[int, np.ndarray] = {}
            while ahead and ahead[:2] == (case_id, block):
                clean[ahead[2]] = np.frombuffer(ahead[3])
                ahead = next(samples, None)
            yield _decode(case_id, block, content, clean)

    def steps(self) -> Iterator[StepRow]:
        """Rows of steps.csv, read in pieces."""
        query = ("SELECT case_id, launch, rank, pass, seconds FROM samples "
                 "ORDER BY case_id, launch, rank, pass")
        for case_id, block, rank, name, blob in self.connection.execute(query):
            for step, seconds in enumerate(np.frombuffer(blob).tolist()):
                yield case_id, block, rank, step, name, seconds


def step_rows(case_id: str, block: int, records: Iterable[dict[str, Any]]) -> Iterator[StepRow]:
    """One row a step, rank and pass of a launch; seconds."""
    for record in records:
        for name, field in PASSES.items():
            for step, seconds in enumerate(record[field]):
                yield case_id, block, record["rank"], step, name, seconds


def _encode(launch: StoredLaunch) -> str:
    plain = [
        {name: value for name, value in record.items() if name != "step_seconds"}
        for record in launch.records
    ]
    content: dict[str, Any] = {"outcome": launch.outcome, "records": plain}
    if launch.reduced:
        content["reduced"] = {
            "columns": launch.reduced.columns, "busy": launch.reduced.busy.tolist(),
            "payloads": launch.reduced.payloads,
        }
    return json.dumps(content, separators=(",", ":"))


def _decode(
    case_id: str, block: int, content: str, clean: dict[int, np.ndarray]
) -> StoredLaunch:
    fields = json.loads(content)
    records = [
        record | {"step_seconds": clean.get(record["rank"], np.empty(0))}
        for record in fields["records"]
    ]
    found = fields.get("reduced")
    reduced = Reduced(found["columns"], np.asarray(found["busy"], float), found["payloads"]) \
        if found else None
    return StoredLaunch(case_id, block, fields["outcome"], records, reduced)
