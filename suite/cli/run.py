"""``python -m suite run``: from options to a run folder and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from suite.analysis.link_fit import LinkFit
from suite.cli.console import Shape, live, print_rows
from suite.config.matrix import build_matrix, choose_device
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.values import MEASURED
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.launch.inputs import load_data
from suite.machine import devices
from suite.machine.calibration import measure_cores, relative_speeds
from suite.machine.topology import physical_first
from suite.measure.links import LinkResults, measure_all, plans_for_run
from suite.measure.memory_frontier import find_frontiers
from suite.measure.runner import Progress, Runner, exit_code, new_run_id
from suite.runfolder import files


def run_matrix(
    preset: str, file: Path | None, options: dict[str, Any], out: Path, shape: Shape = "table",
    dry: bool = False,
) -> int:
    """Validates everything before the first file is written; returns the exit code."""
    config = with_measured_speeds(resolve(preset, file, options))
    cases = build_matrix(config, devices.gpu_count())
    check_data(config, cases)
    if dry:
        from suite.cli.dry_run import show_plan

        return show_plan(config, cases, out)
    folder = files.create_run_folder(out, new_run_id())
    with files.locked(folder):
        return _execute(folder, shape, lambda show: Runner(config, cases, folder, show))


def with_measured_speeds(config: RunConfig) -> RunConfig:
    """Cores' matrix-product rates in place of ``measured``; those that ranks are pinned to."""
    if config.device_speeds != MEASURED:
        return config
    count = max(config.devices)
    cores = physical_first(devices.allowed_cores())[:count]
    device = choose_device(config.device, count, devices.gpu_count())
    if device != "cpu" or len(cores) < count:
        raise UsageError("--device-speeds", MEASURED, "a core for each CPU device",
                         "give them as numbers, such as 1,0.5")
    return replace(config, device_speeds=relative_speeds(measure_cores(cores)))


def resume_matrix(folder: Path, options: dict[str, Any], shape: Shape = "table") -> int:
    """Goes on with an interrupted run in its own folder; returns the exit code."""
    from suite.measure.resume import reopen

    if not (folder / "run.json").exists():
        raise UsageError("--resume", str(folder), "a run folder", "name one under results/")
    with files.locked(folder):
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
        _tell_dropped(runner.run.get("dropped_environment", []))
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


def _tell_dropped(names: list[str]) -> None:
    """Says once which of the user's variables have no effect on what is measured."""
    if names:
        print(f"not passed on to the workers: {', '.join(names)} (SUITE_PASS_ENV=NAME,… passes "
              "them on)", file=sys.stderr)


def sweep_for_run(runner: Runner, show: Callable[[Progress], None]) -> list[LinkFit]:
    """The run's own short sweep of its links; each launch is bounded as a case's is."""
    results = LinkResults(runner.folder)
    cases = [result.case for result in runner.results]
    measure_all(
        plans_for_run(cases), results, runner.config.python, runner.config.timeout,
        lambda text, done, total: show(Progress(text, done, total, None)),
    )
    return results.fits


def check_data(config: RunConfig, cases: list[Case]) -> None:
    """A user's file must fit every workload before anything is written or measured."""
    if config.data in ("real", "synthetic"):
        return
    for spec in dict.fromkeys(case.spec for case in cases):
        load_data(spec, config.data, config.seed)
