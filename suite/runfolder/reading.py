"""Reads a run folder of any version back into the results from which its tables are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.analysis.choice import mark_chosen
from suite.analysis.doubts import Conditions, common_peaks
from suite.analysis.judging import apply_proofs, judge, loss_rows
from suite.analysis.link_fit import LinkFit
from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult, build_rows
from suite.analysis.traced import reduce_launch
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.files import TableRow
from suite.contract.records import read_records, record_paths
from suite.contract.row import Row
from suite.runfolder.files import LOSS_COLUMNS, PROOF
from suite.runfolder.run_file import check_run, results_of
from suite.runfolder.samples import FILE, SampleStore, StoredLaunch, compact
from suite.runfolder.schema import RecordFile, checked_part
from suite.runfolder.tables import read_fits, read_probes
from suite.runfolder.upgrade import check_version, unknown_columns, upgrade
from suite.runfolder.validated import read_json, read_table

# How run.json marks a folder that holds the two sides of an A/B run.
AB = "ab"
# What readers see if a run.json lacks these entries.
UNKNOWN_MACHINE = {"processor": "unknown processor", "cores": 0, "gpus": 0}


@dataclass
class StoredRun:
    """A run as it was read: ``run.json``, the results of its cases in the matrix's order, its
    losses.
    """

    folder: Path
    run: dict[str, Any]
    results: list[CaseResult]
    losses: list[TableRow] = field(default_factory=list)
    fits: list[LinkFit] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Computes one row for each case from the launches that were read."""
        configuration = self.run.get("configuration", {})
        conditions = Conditions(
            self.run.get("blocks", []), configuration.get("precision"), self.fits,
            common_peaks(self.run.get("environment", {})),
        )
        rows = build_rows(self.run["run_id"], self.results, conditions)
        if self.run.get("candidates"):
            mark_chosen(rows)
        return rows


def read_run(folder: Path, from_records: bool = False) -> StoredRun:
    """Reads a run folder.

    Args:
        folder: The run folder.
        from_records: Whether to read the ranks' records even if there is a ``samples.sqlite``.

    Raises:
        UsageError: If the folder is no run folder, or a version wrote it that is unknown here.
    """
    run = read_json(folder / "run.json", "RUN")
    if is_ab(run):
        fix = f"name a side: {folder / 'a'} or {folder / 'b'}"
        raise UsageError("RUN", str(folder), "a run, not an A/B run of two", fix)
    version = check_version(run.get("schema_version"), f"{folder}: schema version")
    run = check_run(folder / "run.json", run)
    run = {"run_id": folder.name, "state": "unknown", "command_line": []} | run
    run["environment"] = UNKNOWN_MACHINE | run.get("environment", {})
    run["configuration"] = {"seed": "unknown", "data": "unknown"} | run.get("configuration", {})
    try:
        results = {_id_on_disk(run, result.case): result for result in _results(folder, run)}
    except (AttributeError, KeyError, TypeError) as error:
        fix = f"restore the folder, or run it again ({type(error).__name__}: {error})"
        path = str(folder / "run.json")
        raise UsageError("RUN", path, "the cases that a run writes there", fix) from error
    stored = not from_records and SampleStore.readable(folder)
    with _launches_of(folder / FILE if stored else folder / "cases"):
        for launch in _from_store(folder) if stored else _from_records(folder, results, version):
            if launch.case_id in results:
                restore(results[launch.case_id], launch)
    if "side" in run:
        _forgive(list(results.values()))
    apply_proofs(run, list(results.values()))
    for probe in read_probes(folder):
        if probe.case_id in results:
            results[probe.case_id].probes.append(probe)
    found = StoredRun(folder, run, list(results.values()), fits=read_fits(folder))
    if not found.results and not found.fits:
        fix = "name another one, or run it again"
        raise UsageError("RUN", str(folder), "a run with cases, or a sweep of links", fix)
    if version == 1:
        _verdicts_of_table(folder, results)
    found.losses = _losses(folder, found.results)
    return found


@contextmanager
def _launches_of(path: Path) -> Iterator[None]:
    """Refuses launches that no run wrote so, or that were cut off or damaged."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, sqlite3.DatabaseError) as error:
        fix = f"restore the folder, or run it again ({type(error).__name__}: {error})"
        raise UsageError("RUN", str(path), "launches as a run writes them", fix) from error


def is_ab(run: Mapping[str, Any]) -> bool:
    """Returns whether ``run`` is the ``run.json`` of ``ab``, whose folder holds two run folders."""
    return run.get("kind") == AB


def _forgive(results: list[CaseResult]) -> None:
    """Marks results as going on after a failed launch, as the sides of an A/B run do."""
    for result in results:
        if result.good and result.status in ("failed", "timeout", "oom"):
            result.status, result.reason = "ok", ""


def _id_on_disk(run: dict[str, Any], case: Case) -> str:
    """Returns the id under which a case was stored.

    Runs with a single mode did not name it in their ids.
    """
    worded = isinstance(run["configuration"].get("mode"), str)
    return case.case_id.removesuffix(".compiled") if worded else case.case_id


def restore(result: CaseResult, launch: StoredLaunch) -> None:
    """Puts a stored launch back into the result of its case.

    It restores records and cores, and updates the status and the worst proof.
    """
    outcome = launch.outcome
    finished = outcome["status"] == "ok"
    result.put(
        launch.block, launch.records if finished else None, outcome.get("cores", []),
        launch.reduced, outcome.get("seconds"),
    )
    if not finished:
        result.status, result.reason = outcome["status"], outcome["reason"]
        return
    verdict = Verdict(**outcome["parity"]) if outcome.get("parity") else None
    judge(result, verdict, missing=outcome.get("unproven", ""))


def _results(folder: Path, run: dict[str, Any]) -> list[CaseResult]:
    """Returns the results from ``run.json``.

    Version 1 is read from its table, and from the folders of the cases that the table lacks.
    """
    if "cases" in run:
        return results_of(folder / "run.json", run)
    cores = run["environment"].get("cores", 0)
    found = [CaseResult(case) for case in _cases_on_disk(folder)]
    for result in found:
        case = result.case
        result.oversubscribed = case.device == "cpu" and case.devices > cores > 0
    return found


def _cases_on_disk(folder: Path) -> Iterator[Case]:
    listed = read_table(folder / "results.csv", ["case_id"])
    order = {row["case_id"]: index for index, row in enumerate(listed)}
    names = [path.name for path in (folder / "cases").glob("*") if path.is_dir()]
    for name in sorted(names, key=lambda one: (order.get(one, len(order)), one)):
        files = sorted((folder / "cases" / name).glob("**/case.json"))
        if files and not name.startswith(("reference.", "link.", PROOF)):
            yield Case.stored(read_json(files[0], "case"))


def _from_store(folder: Path) -> Iterator[StoredLaunch]:
    store = SampleStore(folder, read_only=True)
    try:
        yield from store.launches()
    finally:
        store.close()


def _from_records(
    folder: Path, results: dict[str, CaseResult], version: int
) -> Iterator[StoredLaunch]:
    for case_id, result in results.items():
        places = (folder / "cases" / case_id).glob("launch-*")
        paths = sorted(places, key=lambda path: int(path.name.partition("-")[2]))
        raw = {path: _ranks(path) for path in paths}
        processes = max((len(records) for records in raw.values()), default=0)
        for path, records in raw.items():
            outcome = _outcome(path, len(records) == processes > 0)
            if outcome:
                block = int(path.name.partition("-")[2])
                yield _stored(result.case, block, outcome, records, version)


def _ranks(folder: Path) -> list[dict[str, Any]]:
    """Returns the records that the ranks of a launch wrote, in the order of ranks."""
    return [checked_part(path, RecordFile, read_json(path, "record"))
            for path in record_paths(folder)]


def _outcome(folder: Path, whole: bool) -> dict[str, Any] | None:
    """Returns how a launch ended, or None if it was cut off; early versions stored no such file."""
    path = folder / "outcome.json"
    if path.exists():
        return read_json(path, "outcome")
    return {"status": "ok", "reason": "", "parity": _skipped()} if whole else None


def _skipped() -> dict[str, Any]:
    """Returns a proof that says that nothing is known."""
    return {"status": "skipped", "error": float("nan"), "reason": ""}


def _stored(
    case: Case, block: int, outcome: dict[str, Any], raw: list[dict[str, Any]], version: int
) -> StoredLaunch:
    if outcome["status"] != "ok":
        return StoredLaunch(case.case_id, block, outcome, [], None)
    records = read_records(upgrade(raw, version))
    reduced = reduce_launch(case, records)
    if reduced:
        hidden = unknown_columns(raw, version) if version == 1 else set()
        columns = {k: v for k, v in reduced.columns.items() if k not in hidden}
        reduced = replace(reduced, columns=columns)
    return StoredLaunch(case.case_id, block, outcome, compact(records), reduced)


def _verdicts_of_table(folder: Path, results: dict[str, CaseResult]) -> None:
    """Reads proofs and reasons from ``results.csv``, which is the only place where version 1 kept
    them.
    """
    for row in read_table(folder / "results.csv", ["case_id"]):
        result = results.get(row["case_id"])
        if result is None:
            continue
        if result.status == "ok" and row["status"] != "ok":
            result.status, result.reason = row["status"], row["reason"]
        if row["parity"] != "skipped" and result.parity and result.parity.status == "skipped":
            error = float(row["parity_error"] or "nan")
            result.parity = Verdict(row["parity"], error, row["reason"])


def _losses(folder: Path, results: list[CaseResult]) -> list[TableRow]:
    """Returns the losses from the records, or from the table if the reference's record is gone."""
    losses: list[TableRow] = []
    references: dict[Path, list[float] | None] = {}
    for result in results:
        case = result.case
        path = folder / "cases" / f"reference.{case.reference_id}"
        if path not in references:
            # A model that is too large for float64 has its losses in float32 there.
            records = _ranks(path / "float64") or _ranks(path / "float32")
            references[path] = records[0]["losses"] if records else None
        expected = references[path]
        if expected is None:
            return _losses_of_table(folder)
        if result.good:
            losses += loss_rows(case.case_id, result.good[0][0].losses, expected)
    return losses


def _losses_of_table(folder: Path) -> list[TableRow]:
    return [
        {"case_id": row["case_id"], "step": int(row["step"]), "loss": float(row["loss"]),
         "reference_loss": float(row["reference_loss"])}
        for row in read_table(folder / "losses.csv", LOSS_COLUMNS)
    ]
