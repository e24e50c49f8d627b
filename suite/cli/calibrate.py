"""``python -m suite predict --calibrate``: measures this machine's constants and keeps them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from suite.cli.console import live, printer
from suite.config.foresight import ForesightConfig
from suite.config.matrix import choose_device
from suite.config.validation import from_environment, validate
from suite.contract.errors import UsageError
from suite.contract.formats import rate, seconds
from suite.contract.registry import engines
from suite.foresight.fitting import Posterior
from suite.foresight.measured import Constants, posterior_of, read_constants, write_constants
from suite.machine import devices
from suite.measure.constants import cases_to_calibrate, measure_constants, plan_for
from suite.measure.runner import Progress

# Steps measured on the machine that it was calibrated on differed from predictions by this share.
LOCAL_ERROR = 0.15
HEADINGS = ("measured of", "product", "ramp", "stream", "launch", "all-reduce", "bandwidth",
            "contention", "update", "products' error")


def calibration_path() -> Path:
    """Where this user's calibration of this machine is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "training-split-suite" / "calibration.json"


def calibrate(options: dict[str, Any], frameworks: list[str]) -> int:
    """Measures, prints and stores; returns 1 if nothing could be measured."""
    from suite.cli.predict import workload_of

    config = validate(ForesightConfig, from_environment(ForesightConfig) | options)
    device = choose_device("auto", max(2, config.devices), devices.gpu_count())
    count = min(max(2, config.devices), len(devices.allowed_cores()) if device == "cpu" else 64)
    names = frameworks or list(engines())
    cases = cases_to_calibrate(engines(), names, [config.mode], device, count)
    plan = plan_for([workload_of(config)], device)
    with tempfile.TemporaryDirectory() as folder, live(Console(stderr=True)) as show:
        found, missing = measure_constants(
            cases, plan, Path(folder), config.python,
            lambda text, done, total: show(Progress(text, done, total, None)),
        )
    path = calibration_path()
    kept = [old for old in read_constants(path) if _key(old) not in {_key(new) for new in found}]
    write_constants(path, [*kept, *found])
    console = printer()
    console.print(constants_table(found))
    for name, reason in missing.items():
        console.print(f"{name}: {reason}")
    console.print(str(path), soft_wrap=True)
    return 0 if found else 1


def _key(one: Constants) -> tuple[str, str, str, str]:
    return one.framework, one.engine, one.mode, one.device


def constants_table(found: list[Constants]) -> Table:
    """What was measured, a line for each framework, engine and mode."""
    table = Table(*HEADINGS, title="This machine's constants")
    for one in found:
        v = one.values
        cells = (
            one.name, f"{rate(v['product_flops_s'])}FLOP/s", seconds(v["ramp_s"]),
            f"{rate(v['stream_bytes_s'])}B/s", seconds(v["launch_s"]),
            seconds(v["all_reduce_s"]), f"{rate(v['all_reduce_bytes_s'])}B/s",
            f"{v['contention']:.2f}", f"{v['update_bytes']:.0f} B", f"{one.errors['products']:.0%}",
        )
        table.add_row(*cells)
    return table


def machine_here(framework: str, mode: str) -> tuple[Constants, Posterior]:
    """The stored constants of a framework on this machine.

    Args:
        framework: Name, with ``/engine`` where it has several.
        mode: ``eager`` or ``compiled``.

    Raises:
        UsageError: They were not measured yet.
    """
    name, _, engine = framework.partition("/")
    stored = read_constants(calibration_path())
    mine = [one for one in stored
            if one.framework == name and one.mode == mode and engine in ("", one.engine)]
    if not mine:
        known = ", ".join(one.name for one in stored) or "nothing"
        raise UsageError(
            "--machine here", f"{framework}, {mode}", f"what was measured here: {known}",
            f"measure it: python -m suite predict --calibrate --framework {framework} "
            f"--mode {mode}, or name a device: --machine 'A100 SXM 80GB'")
    room = psutil.virtual_memory().total / mine[0].devices if mine[0].device == "cpu" else 0.0
    return mine[0], posterior_of(mine[0], float(room), LOCAL_ERROR)
