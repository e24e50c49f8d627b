"""What each command does, once its options are parsed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from suite import environment, store
from suite.config import ENGINES, PRESETS, RunConfig, build_matrix, resolve
from suite.data import load_data
from suite.launch import manifest
from suite.report.terminal import comparison
from suite.runner import Progress, Runner, exit_code, new_run_id
from suite.spec.case import Case
from suite.spec.strategies import STRATEGIES, VARIANTS
from suite.spec.workloads import WORKLOADS, parameter_count


def run_matrix(preset: str, file: Path | None, options: dict[str, Any], out: Path) -> int:
    """Validates everything before the first file is written; returns the exit code."""
    config = resolve(preset, file, options)
    cases = build_matrix(config, environment.gpu_count())
    check_data(config, cases)
    folder = store.create_run_folder(out, new_run_id())
    interrupted = False
    with _live(Console(stderr=True)) as show:
        runner = Runner(config, cases, folder, show)
        try:
            runner.execute()
        except KeyboardInterrupt:
            interrupted = True
        rows = runner.finish("interrupted" if interrupted else "complete")
    console = _wide(Console())
    for part in comparison(rows, console.width):
        console.print(part)
    console.print(f"{folder}/report.html", soft_wrap=True, highlight=False)
    if interrupted:
        print(f"interrupted: what had finished is in {folder}", file=sys.stderr)
        return 130
    return exit_code(rows)


def _wide(console: Console) -> Console:
    """A pipe or a file has no width of its own; tables cut to 80 columns help nobody there."""
    return console if console.is_terminal else Console(width=160)


@contextmanager
def _live(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line a launch elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[left]}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(event: Progress) -> None:
            left = "" if event.left_s is None else f"about {event.left_s:.0f} s left"
            if not console.is_terminal:
                print(f"[{event.done}/{event.total}] {event.text} {left}".rstrip(),
                      file=sys.stderr, flush=True)
            bar.update(
                task, description=event.text, completed=event.done, total=event.total, left=left
            )

        yield show


def check_data(config: RunConfig, cases: list[Case]) -> None:
    """A user's file must fit every workload before anything is written or measured."""
    if config.data in ("real", "synthetic"):
        return
    for spec in dict.fromkeys(case.spec for case in cases):
        load_data(spec, config.data, config.seed)


def _state(framework: str) -> str:
    version = environment.installed(list(manifest(framework).DISTRIBUTIONS))
    return version or "not installed: run `make run`, or give --python"


def list_everything() -> None:
    console = Console()
    frameworks = Table("framework", "engines", "here", title="Frameworks")
    for name, engines in ENGINES.items():
        frameworks.add_row(name, ", ".join(engines), _state(name))
    strategies = Table("strategy", "variants", title="Strategies")
    for name in STRATEGIES:
        strategies.add_row(name, ", ".join(VARIANTS[name]))
    workloads = Table("workload", "size", "parameters", "global batch", "data", title="Workloads")
    for name, sizes in WORKLOADS.items():
        for size, spec in sizes.items():
            count = f"{parameter_count(spec):,}"
            workloads.add_row(name, size, count, str(spec.global_batch), spec.dataset)
    presets = Table("preset", "settings", title="Presets")
    for name, settings in PRESETS.items():
        presets.add_row(name, ", ".join(f"{key}={value}" for key, value in settings.items()))
    for table in (frameworks, strategies, workloads, presets):
        console.print(table)


def diagnose(as_json: bool) -> None:
    found = environment.describe()
    found["frameworks"] = {name: _state(name) for name in ENGINES}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table("check", "found", title="Doctor")
    for key, value in found.items():
        table.add_row(key, json.dumps(value) if isinstance(value, dict | list) else str(value))
    Console().print(table)
