"""What each command does, once its options are parsed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from suite import environment, store
from suite.analysis.link import LinkFit
from suite.analysis.rows import Row
from suite.calibration import measure_cores, relative_speeds
from suite.config import (
    DEFAULT,
    MEASURED,
    PRESETS,
    RunConfig,
    build_matrix,
    choose_device,
    engines,
    resolve,
)
from suite.data import load_data
from suite.frontier import find_frontiers
from suite.launch import manifest
from suite.link import LinkResults, measure_all, plans_for_run
from suite.report.terminal import comparison, machine_rows, verdicts
from suite.runner import Progress, Runner, exit_code, new_run_id
from suite.spec.case import Case
from suite.spec.errors import UsageError
from suite.spec.plugins import named
from suite.spec.strategies import COMBINED, VARIANTS
from suite.spec.workloads import GROUP, WORKLOADS, parameter_count, sizes_of

Shape = Literal["table", "quiet", "json"]

def run_matrix(
    preset: str, file: Path | None, options: dict[str, Any], out: Path, shape: Shape = "table",
    dry: bool = False,
) -> int:
    """Validates everything before the first file is written; returns the exit code."""
    config = with_measured_speeds(resolve(preset, file, options))
    cases = build_matrix(config, environment.gpu_count())
    check_data(config, cases)
    if dry:
        from suite.dry_run import show_plan

        return show_plan(config, cases, out)
    folder = store.create_run_folder(out, new_run_id())
    with store.locked(folder):
        return _execute(folder, shape, lambda show: Runner(config, cases, folder, show))


def with_measured_speeds(config: RunConfig) -> RunConfig:
    """Cores' matrix-product rates in place of ``measured``; those that ranks are pinned to."""
    if config.device_speeds != MEASURED:
        return config
    count = max(config.devices)
    cores = environment.allowed_cores()[:count]
    device = choose_device(config.device, count, environment.gpu_count())
    if device != "cpu" or len(cores) < count:
        raise UsageError("--device-speeds", MEASURED, "a core for each CPU device",
                         "give them as numbers, such as 1,0.5")
    return config.model_copy(update={"device_speeds": relative_speeds(measure_cores(cores))})


def resume_matrix(folder: Path, options: dict[str, Any], shape: Shape = "table") -> int:
    """Goes on with an interrupted run in its own folder; returns the exit code."""
    from suite.resume import reopen

    if not (folder / "run.json").exists():
        raise UsageError("--resume", str(folder), "a run folder", "name one under results/")
    with store.locked(folder):
        config, earlier = reopen(folder, options)
        return _execute(
            folder, shape, lambda show: Runner(config, [], folder, show, earlier=earlier)
        )


def _execute(
    folder: Path, shape: Shape, make: Callable[[Callable[[Progress], None]], Runner]
) -> int:
    interrupted = False
    with live(Console(stderr=True, quiet=shape == "quiet")) as show:
        runner = make(show)
        try:
            if runner.config.link and not runner.run.get("links_measured"):
                runner.keep_links(sweep_for_run(runner, show))
            runner.execute()
            if runner.config.find_max_batch:
                find_frontiers(runner)
        except KeyboardInterrupt:
            interrupted = True
        rows = runner.finish("interrupted" if interrupted else "complete")
    print_rows(rows, folder, shape)
    if interrupted:
        again = f"go on with: python -m suite run --resume {folder}"
        print(f"interrupted: what had finished is in {folder}; {again}", file=sys.stderr)
        return 130
    return exit_code(rows)


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
    for part in comparison(rows, console.width):
        console.print(part)
    console.print(page, soft_wrap=True)


def sweep_for_run(runner: Runner, show: Callable[[Progress], None]) -> list[LinkFit]:
    """The run's own short sweep of its links; each launch is bounded as a case's is."""
    results = LinkResults(runner.folder)
    cases = [result.case for result in runner.results]
    measure_all(
        plans_for_run(cases), results, runner.config.python, runner.config.timeout,
        lambda text, done, total: show(Progress(text, done, total, None)),
    )
    return results.fits


def printer() -> Console:
    """Standard output, where text is text: nothing a user named is read as markup.

    A pipe or a file has no width of its own; tables cut to 80 columns help nobody there.
    """
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, markup=False, emoji=False, highlight=False)


def duration(seconds: float) -> str:
    """``90 s``, ``14 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
    own = environment.interpreters([framework])
    if own:
        return f"in {own[framework]}"
    version = environment.installed(list(manifest(framework).DISTRIBUTIONS))
    return version or "not installed: run `make run`, or give --python"


def list_everything() -> None:
    console = printer()
    frameworks = Table("framework", "engines", "here", title="Frameworks")
    for name, offered in engines().items():
        frameworks.add_row(name, ", ".join(offered), _state(name))
    strategies = Table("strategy", "variants", title="Strategies")
    for name, variants in (VARIANTS | COMBINED).items():
        strategies.add_row(name, ", ".join(variant or DEFAULT for variant in variants))
    workloads = Table("workload", "size", "parameters", "global batch", "data", title="Workloads")
    for name in [*WORKLOADS, *named(GROUP)]:
        for size, spec in sizes_of(name).items():
            count = f"{parameter_count(spec):,}"
            workloads.add_row(name, size, count, str(spec.global_batch), spec.dataset)
    presets = Table("preset", "settings", title="Presets")
    for name, settings in PRESETS.items():
        presets.add_row(name, ", ".join(f"{key}={value}" for key, value in settings.items()))
    for table in (frameworks, strategies, workloads, presets):
        console.print(table)
