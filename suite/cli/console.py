"""Prints the rows of a run, and the progress of a running one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from suite.analysis.rows import CaseResult
from suite.contract.formats import duration
from suite.contract.row import Row
from suite.measure.progress import Progress
from suite.report.choice import candidates_of, choice_parts, told, verdict_lines
from suite.report.matrix import Grid
from suite.report.terminal import comparison, machine_rows, verdicts

Shape = Literal["table", "quiet", "json"]


def print_rows(
    rows: list[Row], folder: Path, shape: Shape = "table", grids: list[Grid] | None = None,
    run: Mapping[str, Any] | None = None,
) -> None:
    """Prints rows on standard output, together with the path of their page.

    Args:
        rows: The rows of one run.
        folder: Its run folder.
        shape: ``table`` prints everything, ``quiet`` the answers alone, ``json`` one JSON object.
        grids: What ``build_grids`` made of the rows, if that is known already.
        run: ``run.json``, whose choice comes first if the run was to make one.
    """
    page = f"{folder}/report.html"
    chosen = told(candidates_of(run or {}), rows)
    if shape != "table":
        answers = [*verdict_lines(chosen), *verdicts(rows, grids)]
        if shape == "quiet":
            print(*answers, page, sep="\n")
            return
        print(json.dumps({"page": page, "verdicts": answers, "rows": machine_rows(rows)},
                         allow_nan=False))
        return
    console = printer()
    for first in choice_parts(chosen):
        console.print(first)
    for part in comparison(rows, console.width, str(folder), grids):
        console.print(part)
    console.print(page, soft_wrap=True)


def print_profile(results: Sequence[CaseResult], run: Mapping[str, Any]) -> None:
    """Prints where launches and the harness itself spent their time.

    Args:
        results: Of the run, with all launches.
        run: ``run.json``.
    """
    from suite.report.harness_profile import harness_profile

    console = printer()
    for part in harness_profile(results, run.get("harness_s", {})):
        console.print(part)


class Printer(Console):
    """A console that raises an error when its reader has gone.

    Rich would exit with code 1 itself.
    """

    def on_broken_pipe(self) -> None:
        """Raises the error that makes ``suite.cli.program.Commands`` end the command quietly."""
        raise BrokenPipeError


def printer() -> Console:
    """Returns a console for standard output that prints every text literally.

    Names that come from a user may contain square brackets or colons, which rich would read as
    markup. A pipe or a file has no width of its own, and tables that are cut to 80 columns would
    help nobody there, so it gets 160.
    """
    width = None if sys.stdout.isatty() else 160
    return Printer(width=width, markup=False, emoji=False, highlight=False)


@contextmanager
def live(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Shows progress while the block runs: a bar on a terminal, and a line for each launch
    elsewhere.

    Yields:
        A function that shows one event.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None),
               MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    terminal = console.is_terminal
    with Bar(*columns, console=console, transient=True, expand=True, disable=not terminal) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(event: Progress) -> None:
            left = "" if event.left_s is None else f"about {duration(event.left_s)} left"
            if not console.is_terminal and not console.quiet:
                # If nobody reads standard error any more, the run still goes on.
                with suppress(OSError):
                    print(f"[{event.done}/{event.total}] {event.text} {left}".rstrip(),
                          file=sys.stderr, flush=True)
            bar.update(
                task, description=event.text, completed=event.done, total=event.total, left=left
            )

        yield show
