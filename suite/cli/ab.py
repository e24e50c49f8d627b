"""``python -m suite ab``: compares two settings, A and B, of the same work within one run.

Launches of both sides alternate in random order and are compared in pairs, so that a machine that
changes its speed during the run changes it for both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from suite.analysis.comparison import RowComparison, regressions
from suite.analysis.sides import METRICS
from suite.analysis.sides import compare_sides as compare_rows
from suite.cli.cluster import launching
from suite.cli.compare import REGRESSION, parse_limit
from suite.cli.console import live, printer
from suite.cli.sides import parse_side
from suite.config.sides import SidePlan, resolve_sides
from suite.contract.errors import UsageError
from suite.launch.inputs import load_data
from suite.launch.signals import undisturbed
from suite.machine import devices
from suite.measure.ab import SIDES, AbRun
from suite.measure.ending import new_run_id, state_after
from suite.measure.room import check_room, free_room
from suite.report import ab as report
from suite.runfolder import files
from suite.runfolder.reading import read_run
from suite.runfolder.run_file import read_ab

INTERRUPTED = 130


def compare_sides(
    texts: tuple[str, str], options: dict[str, Any], fail_on: Sequence[str], out: Path,
    as_json: bool = False,
) -> int:
    """Measures both sides, prints the comparison, and writes its run folder.

    Everything the user gave is validated before the first file is written.

    Args:
        texts: What the user wrote for ``--a`` and for ``--b``.
        options: The options of the command line, which hold for both sides.
        fail_on: Limits such as ``step_time:5%``, as ``compare`` takes them.
        out: The folder in which the run folder is made.
        as_json: Whether to print JSON instead of a table.

    Returns:
        The exit code: 0; 1 if a side failed or no pair of launches finished; 3 if B is worse than A
        by more than a limit; 130 if the user interrupted the run.

    Raises:
        UsageError: If an option, a side or a limit is wrong.
    """
    limits = [_limit(text) for text in fail_on]
    sides = [parse_side(f"--{name}", text) for name, text in zip(SIDES, texts, strict=True)]
    config, a, b = resolve_sides(options, sides[0], sides[1], devices.gpu_count())
    for side in (a, b):
        check_room([side.case], free_room())
    _check_data(a)
    folder = files.create_run_folder(out, new_run_id(), [f"{name}/cases" for name in SIDES])
    with (_locked(folder), live(Console(stderr=True)) as show,
          launching("local", (), folder) as launcher):
        run = AbRun(config, (a, b), folder, show, launcher,
                    command_line=["suite", *sys.argv[1:]])
        broken = _execute(run)
    failed = regressions(run.rows, limits)
    show_comparison(run.run, run.rows, folder, as_json)
    for row in failed:
        print(f"Regression: {row.metric} {row.change - 1:+.1%}", file=sys.stderr)
    if run.unwritten:
        print(f"not everything is in {folder}: {run.unwritten}", file=sys.stderr)
    if isinstance(broken, KeyboardInterrupt):
        print(f"interrupted: what had finished is in {folder}", file=sys.stderr)
        return INTERRUPTED
    if broken:
        raise broken
    if run.problems or run.unwritten or not run.paired:
        return 1
    return REGRESSION if failed else 0


def _limit(text: str) -> tuple[str, float]:
    """Parses a limit as ``compare`` does; its metric has to be one that ``ab`` compares."""
    name, share = parse_limit(text)
    if name not in METRICS:
        raise UsageError("--fail-on", text, f"one of {', '.join(METRICS)}", "pick one of these")
    return name, share


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the run folder and the folders of both sides, which are run folders themselves."""
    with ExitStack() as stack:
        for path in (folder, *(folder / name for name in SIDES)):
            stack.enter_context(files.locked(path))
        yield


def _execute(run: AbRun) -> BaseException | None:
    """Runs both sides and keeps what has finished.

    Returns:
        What ended the run before its time: the user's interruption, or an error such as a full
        disk, which the caller raises once what had finished is shown.
    """
    broken: BaseException | None = None
    try:
        run.execute()
    except (KeyboardInterrupt, Exception) as error:
        broken = error
    with suppress(KeyboardInterrupt), undisturbed():  # the command is over in a moment
        run.finish("failed" if run.problems and not broken else state_after(broken))
    return broken


def _check_data(side: SidePlan) -> None:
    """Raises an error if a user's data file does not fit the workload.

    Both sides use the same file.
    """
    case = side.case
    if case.data not in ("real", "synthetic"):
        load_data(case.spec, case.data, case.seed)


def report_again(folder: Path, as_json: bool) -> int:
    """Prints the comparison of a folder that ``ab`` wrote, computed anew from the stored launches.

    Args:
        folder: A run folder of ``ab``, with the run folders ``a`` and ``b`` in it.
        as_json: Whether to print JSON instead of a table.

    Returns:
        The exit code, always 0.
    """
    run = read_ab(folder)
    sides = [next(iter(read_run(folder / name).rows()), None) for name in SIDES]
    timed = [row for row in sides if row and row.timed]
    show_comparison(run, compare_rows(*timed) if len(timed) == 2 else [], folder, as_json)
    return 0


def show_comparison(
    run: dict[str, Any], rows: Sequence[RowComparison], folder: Path, as_json: bool
) -> None:
    """Prints how the sides differ, a table of the metrics and the answer; or all of it as JSON.

    Args:
        run: The content of ``run.json``.
        rows: One comparison for each metric; empty if a side has no launch that finished.
        folder: The run folder, whose ``ab.csv`` is named at the end.
        as_json: Whether to print JSON instead.
    """
    if as_json:
        print(json.dumps(report.as_json(run, rows), indent=1, allow_nan=False))
        return
    console = printer()
    for line in report.heading(run):
        console.print(line)
    if rows:
        console.print(report.table(rows))
    for line in report.closing(run, rows):
        console.print(line)
    console.print(f"{folder}/ab.csv", soft_wrap=True)
