"""``python -m suite link``: plans the sweeps of the links, runs them, and prints the fits."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from suite.analysis.link_fit import LinkFit
from suite.cli.cluster import follow, hosts_of, joins_another, launching
from suite.cli.console import live, printer
from suite.config.matrix import choose_device, known, spread
from suite.config.sweep_model import LinkConfig
from suite.config.validation import from_environment, validate
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError, worded
from suite.contract.hosts import crowding
from suite.contract.registry import engines, traits_of
from suite.contract.secrets import masked
from suite.contract.sweep import COLLECTIVES, LARGEST_BYTES, Sweep, payload_sizes
from suite.launch.group import Launcher
from suite.machine import description, devices
from suite.measure.ending import new_run_id, state_after
from suite.measure.links import LinkResults, Plan, link_case, measure_all
from suite.measure.progress import Progress
from suite.report.link_tables import link_tables
from suite.runfolder import files

SECONDS_A_COLLECTIVE = 4.0
# Before each call of the loaded sweep a rank computes for as long as a layer of a small model does.
LOAD_S = 0.005


def sweep_links(options: dict[str, Any], out: Path) -> int:
    """Measures the links, prints the fits, and writes a run folder.

    Everything the user gave is validated before the first file is written.

    Args:
        options: The options of the command line.
        out: The folder in which the run folder is made.

    Returns:
        The exit code: 0; 1 if a sweep failed; 130 if the user interrupted it.

    Raises:
        UsageError: If an option is wrong.
    """
    config = validate(LinkConfig, from_environment(LinkConfig) | options)
    if joins_another(config.launcher):
        return follow()
    hosts = hosts_of(config)
    plans, refused = build_plans(config, devices.gpu_count(), [host.devices for host in hosts])
    folder = files.create_run_folder(out, new_run_id())
    run = {
        "run_id": folder.name, "schema_version": SCHEMA_VERSION,
        "environment": description.describe(), "configuration": asdict(config),
        "command_line": masked(["suite", *sys.argv[1:]]), "started": files.utc_now(),
        "state": "running",
    }
    files.write_json(folder / "run.json", run)
    results = LinkResults(folder)
    with (live(Console(stderr=True)) as show,
          launching(config.launcher, hosts, folder) as launcher):
        broken = _measure(config, plans, results, show, launcher)
    run["state"] = state_after(broken)
    # These rows are added after the sweeps, because a framework that has rows counts as measured.
    results.fits += refused
    unwritten = _keep(folder, run, results)
    console = printer()
    for part in link_tables(results.fits):
        console.print(part)
    console.print(f"{folder}/link_fit.csv", soft_wrap=True, highlight=False)
    if unwritten:
        print(f"not everything is in {folder}: {unwritten}", file=sys.stderr)
    if isinstance(broken, Exception):
        raise broken
    return _exit_code(bool(broken), results.fits) or bool(unwritten)


def _measure(
    config: LinkConfig, plans: Sequence[Plan], results: LinkResults,
    show: Callable[[Progress], None], launcher: Launcher,
) -> BaseException | None:
    """Makes the sweeps; returns what ended them before their time, if anything did."""
    try:
        measure_all(
            plans, results, config.python, config.timeout,
            lambda text, done, total: show(Progress(text, done, total, None)), launcher,
        )
    except (KeyboardInterrupt, Exception) as error:
        return error
    return None


def _keep(folder: Path, run: dict[str, Any], results: LinkResults) -> str:
    """Writes the fits and how the command ended; returns why something could not be written."""
    try:
        results.save()
        files.write_json(folder / "run.json", run)
    except OSError as error:
        return worded(error)
    return ""


def _exit_code(interrupted: bool, fits: Sequence[LinkFit]) -> int:
    """Returns 0 if all sweeps are ok or unsupported, 1 if one failed, and 130 after an
    interruption.
    """
    if interrupted:
        print("interrupted: what had finished is saved", file=sys.stderr)
        return 130
    return 0 if all(fit.status in ("ok", "unsupported") for fit in fits) else 1


def build_plans(
    config: LinkConfig, gpus: int, slots: Sequence[int] = ()
) -> tuple[list[Plan], list[LinkFit]]:
    """Plans the sweeps that the user asked for.

    Args:
        config: The options of the command.
        gpus: How many GPUs this process may use.
        slots: Devices of each host that may take part; empty for this host alone.

    Returns:
        The sweeps to make, and a row for each collective that a framework does not offer.
    """
    known("framework", config.framework, engines())
    known("collective", config.collective, COLLECTIVES)
    known("python", list(config.python), engines())
    hosts = spread([config.devices], slots)[config.devices]
    device = choose_device(config.device, crowding(config.devices, hosts, slots), gpus)
    low, high = _range(config, device)
    plans, refused = [], []
    for framework in dict.fromkeys(config.framework):
        unswept = traits_of(framework).not_swept(hosts)
        for engine in engines()[framework]:
            case = link_case(
                framework, engine, device, config.devices, config.interface, hosts
            )
            names = [name for name in config.collective if name not in unswept]
            sizes = {name: payload_sizes(name, config.devices, low, high) for name in names}
            if sizes:
                plans += [Plan(case, sweep) for sweep in _sweeps(config, sizes)]
            refused += [
                LinkFit(framework, engine, name, "", "", config.devices, status="unsupported",
                        reason=unswept[name], hosts=hosts)
                for name in config.collective if name in unswept
            ]
    return plans, refused


def _sweeps(config: LinkConfig, sizes: dict[str, list[int]]) -> list[Sweep]:
    """Returns the sweep of the idle link and, if the user asked for it, that between computing
    ranks.
    """
    budget = SECONDS_A_COLLECTIVE * len(sizes)
    loads = [0.0, LOAD_S] if config.loaded else [0.0]
    return [Sweep(sizes, config.repetitions, budget, load_s=load) for load in loads]


def _range(config: LinkConfig, device: str) -> tuple[int, int]:
    if config.interface not in {name for _, name in socket.if_nameindex()}:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise UsageError("--interface", config.interface, f"one of {names}", "pick one of these")
    low, high = config.bytes_min, config.bytes_max or LARGEST_BYTES[device]
    if low >= high:
        expected = f"more than --bytes-min, {low}"
        raise UsageError("--bytes-max", high, expected, "widen the range")
    return low, high
