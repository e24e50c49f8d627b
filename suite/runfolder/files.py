"""Writes the files of a run folder; each file is replaced as a whole, so readers never see half."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from suite.analysis.rows import CaseResult
from suite.analysis.share_course import BALANCE_COLUMNS, balance_rows, shared
from suite.contract.errors import UsageError
from suite.contract.files import TableRow, write_atomically
from suite.contract.metrics import COLUMNS
from suite.contract.records import Launch
from suite.contract.row import Row
from suite.contract.warnings import flatten
from suite.report.matrix import Grid
from suite.runfolder.samples import SampleStore, StepRow, StoredLaunch, step_rows
from suite.runfolder.tables import read_links


def check_out(out: Path) -> None:
    """Raises :class:`UsageError` if no run folder can be made in ``out``; creates nothing."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError("--out", str(out), "a writable folder", f"{existing} is none")


def create_run_folder(
    out: Path, run_id: str, parts: Sequence[str] = ("cases",)
) -> Path:
    """Creates a folder for a new run.

    If another run already has that name, the new folder is called ``<run_id>-2``, ``-3`` and so on.

    Args:
        out: The folder of run folders.
        run_id: The name of the run.
        parts: The folders to create inside it.

    Returns:
        The path of the new folder.

    Raises:
        UsageError: If ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _first_free(out, run_id)
        for part in parts:
            (folder / part).mkdir(parents=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("--out", str(out), "a writable folder", reason) from None
    return folder


def _first_free(out: Path, run_id: str) -> Path:
    """Creates the first folder whose name is free.

    Looking and creating are one step, because two runs may start at the same time.
    """
    for number in count(1):
        folder = out / (run_id if number == 1 else f"{run_id}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def utc_now() -> str:
    """Returns the current time in UTC as ISO 8601 with seconds, as ``run.json`` stores it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_output(option: str, path: Path, text: str) -> None:
    """Writes a file that a user named, as a whole.

    Args:
        option: The option that named it, for the error message.
        path: The file.
        text: Its content.

    Raises:
        UsageError: If the file cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(option, str(path), "a file that can be written", reason) from None


def write_json(path: Path, content: Any) -> None:
    """Writes an object as JSON; the file is replaced as a whole."""
    write_atomically(path, json.dumps(content, indent=1))


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Writes ``results.csv``; a cell is empty if its figure does not exist."""
    columns = list(COLUMNS)
    values, warnings, ledger = attrgetter(*columns), *map(columns.index, ("warnings", "ledger"))
    lines = [list(values(row)) for row in rows]
    for row, line in zip(rows, lines, strict=True):
        line[warnings] = flatten(row.warnings)
        line[ledger] = json.dumps(row.ledger) if row.ledger else None
    _write_lines(folder / "results.csv", columns, lines)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[TableRow]) -> None:
    """Writes a table as CSV; a figure that does not exist is an empty cell.

    Args:
        path: The file.
        columns: The names of the columns, in their order.
        rows: For each row, its values by column; other values are left out.
    """
    _write_lines(path, columns, ([row.get(name) for name in columns] for row in rows))


def _write_lines(path: Path, columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    # What is not equal to itself is NaN, which stands for a figure that does not exist.
    writer.writerows([value if value == value else None for value in line] for line in lines)
    write_atomically(path, text.getvalue())


def append_steps(path: Path, rows: Iterable[StepRow]) -> int:
    """Appends rows to ``steps.csv``, and writes its header if the file is new.

    Returns:
        The size of the file in bytes.
    """
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if stream.tell() == 0:
            writer.writerow(STEP_COLUMNS)
        writer.writerows(rows)
        return stream.tell()


def keep_launch(
    folder: Path, store: SampleStore, launch: StoredLaunch, raw: Launch
) -> None:
    """Stores a finished launch.

    The launch goes first to ``steps.csv`` and then to the store. Only once it is in the store does
    it count, so an interruption in between loses the launch but corrupts nothing.

    Args:
        folder: The run folder.
        store: The run's ``samples.sqlite``.
        launch: The launch in its compact form.
        raw: The whole records of its ranks.
    """
    size = append_steps(folder / "steps.csv", step_rows(launch.case_id, launch.block, raw))
    store.append(launch, raw, size)
    write_json(outcome_path(folder, launch), launch.outcome)


def outcome_path(folder: Path, launch: StoredLaunch) -> Path:
    """Returns the path of the file that says how a launch ended."""
    return folder / "cases" / launch.case_id / f"launch-{launch.block}" / "outcome.json"


def mend_steps(folder: Path, store: SampleStore) -> None:
    """Writes ``steps.csv`` anew if an interruption left a launch out of it or only partly in it."""
    path = folder / "steps.csv"
    if path.exists() and path.stat().st_size == store.steps_bytes():
        return
    part = path.with_suffix(".csv.part")
    part.unlink(missing_ok=True)
    size = append_steps(part, store.steps())
    part.replace(path)
    store.set_steps_bytes(size)


def write_balance(folder: Path, results: Sequence[CaseResult]) -> None:
    """Writes ``balance.csv``, shares or cuts of every step; writes no file if no case balances.

    Args:
        folder: The run folder.
        results: All cases of the run.
    """
    rows = [row for one in results if one.case.balances
            for row in balance_rows(one.case.case_id, one.launches, shared(one.case))]
    if rows:
        write_table(folder / "balance.csv", BALANCE_COLUMNS, rows)


def write_report(
    folder: Path, run: dict[str, Any], rows: list[Row], losses: list[TableRow],
    grids: list[Grid] | None = None,
) -> None:
    """Writes what a reader opens: ``results.csv``, ``losses.csv`` and the page.

    Args:
        folder: The run folder.
        run: The content of ``run.json``.
        rows: One row for each case.
        losses: The rows of ``losses.csv``.
        grids: What ``build_grids`` made of the rows, if that is known already.
    """
    from suite.report.html import render

    write_rows(folder, rows)
    write_table(folder / "losses.csv", LOSS_COLUMNS, losses)
    write_atomically(folder / "report.html", render(run, rows, losses, *read_links(folder), grids))


class InProgress(UsageError):
    """Raised if another process is working in the run folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes of the harness out of a run folder while the block runs.

    The operating system releases the lock if the process dies.

    Raises:
        InProgress: If another process holds the lock.
        OSError: If the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        fix = "wait for it, or end it"
        raise InProgress("run folder", str(folder), "no other process at work in it", fix) from None
    try:
        yield
    finally:
        lock.release()


def case_entries(results: list[CaseResult]) -> list[dict[str, Any]]:
    """Returns the entries of ``run.json`` for the cases, in the order of the matrix.

    How each launch ended is stored in the launch's own folder.
    """
    return [
        {"case": asdict(result.case), "oversubscribed": result.oversubscribed,
         "stopped": result.stopped}
        | ({"status": result.status, "reason": result.reason}
           if result.status != "ok" else {})
        for result in results
    ]


# The folders of launches that prove a case in float32 which is then timed in another format.
PROOF = "proof."
STEP_COLUMNS = ["case_id", "launch", "rank", "step", "pass", "seconds"]
LOSS_COLUMNS = ["case_id", "step", "loss", "reference_loss"]
