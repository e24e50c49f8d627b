"""``results/<run>/`` on disk; every file is replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from suite.analysis.rows import CaseResult, Row
from suite.spec.errors import UsageError
from suite.spec.metrics import COLUMNS
from suite.worker import write_atomically


def create_run_folder(out: Path, run_id: str) -> Path:
    """A new folder; raises :class:`UsageError` where ``out`` cannot be written."""
    folder = out / run_id
    try:
        folder.mkdir(parents=True)
        (folder / "cases").mkdir()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("--out", str(out), "a writable folder", reason) from None
    return folder


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=1))


def write_rows(folder: Path, rows: list[Row]) -> None:
    """``results.csv``; empty where a figure does not exist."""
    write_table(folder / "results.csv", list(COLUMNS), rows)


def write_table(path: Path, columns: list[str], rows: list[Row]) -> None:
    """CSV of the named columns; whole numbers stay whole beside a missing figure."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n"))


def step_rows(results: list[CaseResult]) -> list[Row]:
    """One row a measured step and rank; seconds."""
    return [
        {"case_id": result.case.case_id, "launch": block, "rank": record["rank"],
         "step": step, "pass": name, "seconds": seconds}
        for result in results
        for block, records in enumerate(result.launches)
        for record in records or []
        for name, key in (("clean", "step_seconds"), ("timed", "timed_step_seconds"))
        for step, seconds in enumerate(record[key])
    ]


STEP_COLUMNS = ["case_id", "launch", "rank", "step", "pass", "seconds"]
LOSS_COLUMNS = ["case_id", "step", "loss", "reference_loss"]
