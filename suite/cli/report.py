"""``python -m suite report``: a run folder's tables and page again, from what is on disk."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from suite.cli.console import Shape, print_rows, printer
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.report.link_tables import link_tables
from suite.runfolder import files
from suite.runfolder.reading import StoredRun, is_ab, read_run
from suite.runfolder.samples import SampleStore
from suite.runfolder.validated import read_json


def report(
    folder: Path, from_records: bool, export: Path | None, shape: Shape = "table"
) -> int:
    """Rewrites tables and page, prints the comparison; a run in progress is only printed."""
    if is_ab(read_json(folder / "run.json", "RUN")):
        return _ab(folder, export, shape)
    # Rows live until the end and hold no cycles: looking for some took a third of a large report.
    gc.disable()
    stored = read_run(folder, from_records)
    if stored.fits and not stored.results:
        return _links(stored, shape)
    rows = stored.rows()
    try:
        with files.locked(folder):
            _write(stored, rows)
    except files.InProgress:
        print("a run is in progress here: nothing was written", file=sys.stderr)
    except OSError as error:
        print(f"{folder} cannot be written, the tables and the page are as they were: {error}",
              file=sys.stderr)
    if export:
        from suite.runfolder.pytest_benchmark import export_rows

        export_rows(export, stored.run, rows)
    print_rows(rows, folder, shape)
    return 0


def _ab(folder: Path, export: Path | None, shape: Shape) -> int:
    """A folder of `suite ab` holds two runs and their comparison."""
    from suite.cli.ab import report_again

    if export:
        fix = f"name a side: {folder / 'a'} or {folder / 'b'}"
        raise UsageError("--export-pytest-benchmark", str(folder), "one run, not two", fix)
    return report_again(folder, shape == "json")


def _links(stored: StoredRun, shape: Shape) -> int:
    """A folder of `suite link` holds sweeps alone."""
    if shape != "table":
        fix = "drop it: link_fit.csv holds the same figures"
        raise UsageError(f"--{shape}", str(stored.folder), "a run, not a sweep of links", fix)
    console = printer()
    for part in link_tables(stored.fits):
        console.print(part)
    return 0


def _write(stored: StoredRun, rows: list[Row]) -> None:
    files.write_report(stored.folder, stored.run, rows, stored.losses)
    if stored.run["schema_version"] == SCHEMA_VERSION and SampleStore.readable(stored.folder):
        store = SampleStore(stored.folder)
        files.mend_steps(stored.folder, store)
        store.close()
