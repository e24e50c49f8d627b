"""What every command prints with: text, tables, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from suite.contract.formats import duration
from suite.contract.row import Row
from suite.measure.runner import Progress
from suite.report.terminal import comparison, machine_rows, verdicts

Shape = Literal["table", "quiet", "json"]


def print_rows(rows: list[Row], folder: Path, shape: Shape = "table") -> None:
    """On standard output, with the page's path: tables, the answers alone, or JSON."""
    page = f"{folder}/report.html"
    if shape == "json":
        print(json.dumps({"page": page, "verdicts": verdicts(rows), "rows": machine_rows(rows)},
                         allow_nan=False))
        return
    if shape == "quiet":
        print(*verdicts(rows), page, sep="\n")
        return
    console = printer()
    for part in comparison(rows, console.width, str(folder)):
        console.print(part)
    console.print(page, soft_wrap=True)


class Printer(Console):
    """A console that says when its reader has gone; rich would end with the code of a failure."""

    def on_broken_pipe(self) -> None:
        """Ends the command as tools end that a closed pipe stops."""
        raise BrokenPipeError


def printer() -> Console:
    """Standard output, where text is text: nothing a user named is read as markup.

    A pipe or a file has no width of its own; tables cut to 80 columns help nobody there.
    """
    width = None if sys.stdout.isatty() else 160
    return Printer(width=width, markup=False, emoji=False, highlight=False)


@contextmanager
def live(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line a launch elsewhere."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None),
               MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    terminal = console.is_terminal
    with Bar(*columns, console=console, transient=True, expand=True, disable=not terminal) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(event: Progress) -> None:
            left = "" if event.left_s is None else f"about {duration(event.left_s)} left"
            if not console.is_terminal and not console.quiet:
                # Nobody may be left to read it; the run goes on.
                with suppress(OSError):
                    print(f"[{event.done}/{event.total}] {event.text} {left}".rstrip(),
                          file=sys.stderr, flush=True)
            bar.update(
                task, description=event.text, completed=event.done, total=event.total, left=left
            )

        yield show
