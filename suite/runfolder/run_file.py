"""What ``run.json`` must look like wherever it is read: checked once, before anything uses it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.runfolder.schema import AbFile, RunFile, checked_part
from suite.runfolder.validated import checked, read_json


def check_run(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Returns ``run`` with the entries that readers compute with in their types.

    Raises:
        UsageError: For the first entry that readers could not compute with.
    """
    return checked_part(path, RunFile, run)


def read_ab(folder: Path) -> dict[str, Any]:
    """Returns the ``run.json`` of an A/B run, with what is shown of it in its types.

    Raises:
        UsageError: If it cannot be read, or lacks something that is shown.
    """
    path = folder / "run.json"
    return checked_part(path, AbFile, read_json(path, "RUN"))


def results_of(path: Path, run: dict[str, Any]) -> list[CaseResult]:
    """Returns the results that ``run.json`` lists, each without its launches.

    Raises:
        UsageError: If a case has a field of another type.
    """
    known = {one.name for one in fields(Case)}
    return [
        CaseResult(
            checked(path, f"cases.{number}.case.", Case,
                    {name: value for name, value in entry["case"].items() if name in known}),
            **{name: entry[name] for name in ("oversubscribed", "stopped", "status", "reason")
               if name in entry},
        )
        for number, entry in enumerate(run["cases"])
    ]
