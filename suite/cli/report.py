"""``python -m suite report``: prints and writes the tables and the page of a stored run again."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from suite.cli.console import Shape, print_profile, print_rows, printer
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.report.link_tables import link_tables
from suite.report.matrix import Grid, build_grids
from suite.runfolder import files
from suite.runfolder.reading import StoredRun, is_ab, read_run
from suite.runfolder.samples import SampleStore
from suite.runfolder.validated import read_json


def report(
    folder: Path, from_records: bool, export: Path | None, shape: Shape = "table",
    profile: bool = False,
) -> int:
    """Rewrites the tables and the page of a run folder, and prints the comparison.

    While the run is still in progress, or if the folder cannot be written, it prints only.

    Args:
        folder: A run folder of ``run``, ``ab`` or ``link``.
        from_records: Whether to read the ranks' records instead of ``samples.sqlite``.
        export: A file to write in the format of pytest-benchmark, if any.
        shape: How the rows are printed.
        profile: Whether to print where launches and harness spent their time.

    Returns:
        The exit code, always 0.

    Raises:
        UsageError: If the folder is no run folder, or an option does not apply to it.
    """
    if is_ab(read_json(folder / "run.json", "RUN")):
        return _ab(folder, export, shape)
    # The rows live until the end and hold no reference cycles; the garbage collector spent a third
    # of a large report's time looking for some.
    gc.disable()
    stored = read_run(folder, from_records)
    if stored.fits and not stored.results:
        return _links(stored, shape)
    rows = stored.rows()
    grids = build_grids(rows)
    try:
        with files.locked(folder):
            _write(stored, rows, grids)
    except files.InProgress:
        print("a run is in progress here: nothing was written", file=sys.stderr)
    except OSError as error:
        print(f"{folder} cannot be written, the tables and the page are as they were: {error}",
              file=sys.stderr)
    if export:
        from suite.runfolder.pytest_benchmark import export_rows

        export_rows(export, stored.run, rows)
    print_rows(rows, folder, shape, grids, stored.run)
    if profile:
        print_profile(stored.results, stored.run)
    return 0


def _ab(folder: Path, export: Path | None, shape: Shape) -> int:
    """Handles a folder of ``suite ab``, which holds two runs and their comparison."""
    from suite.cli.ab import report_again

    if export:
        fix = f"name a side: {folder / 'a'} or {folder / 'b'}"
        raise UsageError("--export-pytest-benchmark", str(folder), "one run, not two", fix)
    return report_again(folder, shape == "json")


def _links(stored: StoredRun, shape: Shape) -> int:
    """Handles a folder of ``suite link``, which holds only sweeps."""
    if shape != "table":
        fix = "drop it: link_fit.csv holds the same figures"
        raise UsageError(f"--{shape}", str(stored.folder), "a run, not a sweep of links", fix)
    console = printer()
    for part in link_tables(stored.fits):
        console.print(part)
    return 0


def _write(stored: StoredRun, rows: list[Row], grids: list[Grid]) -> None:
    files.write_report(stored.folder, stored.run, rows, stored.losses, grids)
    if stored.run["schema_version"] == SCHEMA_VERSION and SampleStore.readable(stored.folder):
        store = SampleStore(stored.folder)
        files.mend_steps(stored.folder, store)
        store.close()
