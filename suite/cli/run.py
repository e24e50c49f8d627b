"""``python -m suite run``: runs a matrix, writes its run folder, and returns the exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from suite.analysis.link_fit import LinkFit
from suite.cli.automatic import pick_ways
from suite.cli.cluster import follow, hosts_of, joins_another, launching
from suite.cli.console import Shape, live, print_profile, print_rows
from suite.config.matrix import build_matrix, choose_device
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.values import MEASURED
from suite.contract.candidates import Candidate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.hosts import Host
from suite.contract.splits.strategies import AUTO
from suite.launch.across.engines import LOCAL
from suite.launch.inputs import load_data
from suite.launch.signals import undisturbed
from suite.machine import devices
from suite.machine.calibration import measure_cores, relative_speeds
from suite.machine.topology import physical_first
from suite.measure.ending import exit_code, new_run_id
from suite.measure.harness_time import LINKS
from suite.measure.links import LinkResults, measure_all, plans_for_run
from suite.measure.memory_frontier import find_frontiers
from suite.measure.progress import Progress
from suite.measure.room import check_room, free_room
from suite.measure.runner import Runner
from suite.runfolder import files

INTERRUPTED = 130


def run_matrix(
    preset: str, file: Path | None, options: dict[str, Any], out: Path, shape: Shape = "table",
    dry: bool = False, profile: bool = False,
) -> int:
    """Runs the matrix that the user asked for.

    Everything the user gave is validated before the first file is written.

    Args:
        preset: The name of the preset that everything else overrides.
        file: A TOML file of options, if any.
        options: The options of the command line.
        out: The folder in which the run folder is made.
        shape: How the rows are printed at the end.
        dry: Whether to print the matrix only.
        profile: Whether to print where launches and harness spent their time.

    Returns:
        The exit code.

    Raises:
        UsageError: If an option is wrong, or no case of the matrix can ever run.
    """
    config = with_measured_speeds(resolve(preset, file, options))
    if joins_another(config.launcher):
        return follow()
    hosts = hosts_of(config)
    cases = build_matrix(config, devices.gpu_count(), [host.devices for host in hosts])
    candidates: list[Candidate] = []
    if AUTO in config.strategy:
        cases, candidates = pick_ways(config, cases, measure=not dry)
    check_room(cases, free_room())
    check_data(config, cases)
    if dry:
        from suite.cli.dry_run import show_plan

        return show_plan(config, cases, out, candidates)
    folder = files.create_run_folder(out, new_run_id())

    def make(show: Callable[[Progress], None]) -> Runner:
        runner = Runner(config, cases, folder, show, launcher)
        if candidates:
            runner.run["candidates"] = list(map(asdict, candidates))
        return runner

    with files.locked(folder), launching(config.launcher, hosts, folder) as launcher:
        return _execute(folder, shape, hosts, make, profile)


def with_measured_speeds(config: RunConfig) -> RunConfig:
    """Replaces ``--device-speeds measured`` by the measured speeds of the cores that ranks will
    use.

    Raises:
        UsageError: If speeds are to be measured but the devices are not CPU cores, or too few.
    """
    if config.device_speeds != MEASURED:
        return config
    count = max(config.devices)
    cores = physical_first(devices.allowed_cores())[:count]
    device = choose_device(config.device, count, devices.gpu_count())
    if device != "cpu" or len(cores) < count:
        raise UsageError("--device-speeds", MEASURED, "a core for each CPU device",
                         "give them as numbers, such as 1,0.5")
    return replace(config, device_speeds=relative_speeds(measure_cores(cores)))


def resume_matrix(
    folder: Path, options: dict[str, Any], shape: Shape = "table", profile: bool = False
) -> int:
    """Continues an interrupted run in its own folder, with the configuration it was started with.

    Args:
        folder: The run folder.
        options: The options of the command line; none but ``leader_repeats`` may differ from the
            run's.
        shape: How the rows are printed at the end.
        profile: Whether to print where launches and harness spent their time.

    Returns:
        The exit code.

    Raises:
        UsageError: If the folder is no run folder, or an option or the machine differs from the
            run's.
    """
    from suite.measure.resume import reopen

    # Before the folder is looked for, which is on the first host alone.
    if joins_another(str(options.get("launcher", LOCAL))):
        return follow()
    if not (folder / "run.json").exists():
        raise UsageError("--resume", str(folder), "a run folder", "name one under results/")
    with files.locked(folder):
        config, earlier = reopen(folder, options)
        hosts = hosts_of(config)
        with launching(config.launcher, hosts, folder) as launcher:
            return _execute(
                folder, shape, hosts,
                lambda show: Runner(config, [], folder, show, launcher, earlier=earlier), profile,
            )


def _execute(
    folder: Path, shape: Shape, hosts: Sequence[Host],
    make: Callable[[Callable[[Progress], None]], Runner], profile: bool,
) -> int:
    state, broken = "complete", None
    with live(Console(stderr=True, quiet=shape == "quiet")) as show:
        runner = make(show)
        _tell_dropped(runner.run.get("dropped_environment", []))
        try:
            if runner.config.link and not runner.run.get("links_measured"):
                with runner.own.of(LINKS):
                    runner.keep_links(sweep_for_run(runner, hosts, show))
            runner.execute()
            if runner.config.find_max_batch:
                find_frontiers(runner)
        except KeyboardInterrupt:
            state = "interrupted"
        except Exception as error:  # told at the end: what had finished is shown first
            state, broken = "failed", error
        with suppress(KeyboardInterrupt), undisturbed():  # the command is over in a moment
            rows = runner.finish(state)
    print_rows(rows, folder, shape, run=runner.run)
    if profile:
        print_profile(runner.results, runner.run)
    if runner.unwritten:
        print(f"not everything is in {folder}: {runner.unwritten}", file=sys.stderr)
    if state != "complete":
        again = f"go on with: python -m suite run --resume {shlex.quote(str(folder))}"
        print(f"{state}: what had finished is in {folder}; {again}", file=sys.stderr)
    if broken:
        raise broken
    return INTERRUPTED if state == "interrupted" else exit_code(rows) or bool(runner.unwritten)


def _tell_dropped(names: list[str]) -> None:
    """Tells the user once which of their environment variables do not reach the workers."""
    if names:
        print(f"not passed on to the workers: {', '.join(names)} (SUITE_PASS_ENV=NAME,… passes "
              "them on)", file=sys.stderr)


def sweep_for_run(
    runner: Runner, hosts: Sequence[Host], show: Callable[[Progress], None]
) -> list[LinkFit]:
    """Measures the links that the cases of a run use, in a short sweep.

    Each launch is limited to the same time as a launch of a case.

    Args:
        runner: The run, which has not started its cases.
        show: Is called with each step of progress.

    Returns:
        The fits of alpha and latency, one for each collective and transport.
    """
    results = LinkResults(runner.folder)
    cases = [result.case for result in runner.results]
    measure_all(
        plans_for_run(cases, [host.devices for host in hosts]), results, runner.config.python,
        runner.config.timeout, lambda text, done, total: show(Progress(text, done, total, None)),
        runner.starter.launcher,
    )
    return results.fits


def check_data(config: RunConfig, cases: list[Case]) -> None:
    """Raises an error if a user's data file does not fit one of the workloads.

    It is called before anything is written or measured.
    """
    if config.data in ("real", "synthetic"):
        return
    for spec in dict.fromkeys(case.spec for case in cases):
        load_data(spec, config.data, config.seed)
