"""``python -m suite predict --calibrate``: measures this machine's constants and keeps them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from suite.cli.console import live, printer
from suite.cli.predict import workload_of
from suite.cli.stored import calibration_path, check_writable, read_or_put_aside
from suite.config.foresight import ForesightConfig
from suite.config.matrix import choose_device
from suite.config.validation import from_environment, validate
from suite.contract.case import Case
from suite.contract.formats import rate, seconds
from suite.contract.operations import OperationPlan
from suite.contract.registry import engines_named, label
from suite.foresight.measured import Constants, read_constants, write_constants
from suite.machine import devices
from suite.measure.constants import cases_to_calibrate, measure_constants, plan_for
from suite.measure.progress import Progress

HEADINGS = (
    "products", "error left", "ramp", "memory", "attention", "activation, each", "norm, each",
    "operation starts", "update, each", "all-reduce delay", "all-reduce rate",
    "that beside compute", "compute beside that",
)


def calibrate(options: dict[str, Any], frameworks: list[str]) -> int:
    """Measures, prints and stores; returns 1 if nothing could be measured."""
    config = validate(ForesightConfig, from_environment(ForesightConfig) | options)
    device = choose_device("auto", max(2, config.devices), devices.gpu_count())
    count = min(max(2, config.devices), len(devices.allowed_cores()) if device == "cpu" else 64)
    asked = engines_named(frameworks)
    cases = cases_to_calibrate(asked, list(asked), [config.mode], device, count)
    plan = plan_for([workload_of(config)], device)
    found, missing = measure_and_keep(cases, plan, config.python)
    console = printer()
    console.print(constants_table(found))
    for name, reason in missing.items():
        console.print(f"{name}: {reason}")
    console.print(str(calibration_path()), soft_wrap=True)
    return 0 if found else 1


def measure_and_keep(
    cases: Sequence[Case], plan: OperationPlan, python: Mapping[str, str]
) -> tuple[list[Constants], dict[str, str]]:
    """Measures constants and stores them for this user.

    Args:
        cases: A case for each framework, engine and mode to measure.
        plan: The operations to run.
        python: Interpreters of frameworks that have an environment of their own.

    Returns:
        The constants, and case to reason where they could not be measured.
    """
    path = calibration_path()
    check_writable("--calibrate", path)
    with tempfile.TemporaryDirectory() as folder, live(Console(stderr=True)) as show:
        found, missing = measure_constants(
            cases, plan, Path(folder), python,
            lambda text, done, total: show(Progress(text, done, total, None)),
        )
    new = {_key(one) for one in found}
    earlier = read_or_put_aside(path, read_constants)
    write_constants(path, [*(one for one in earlier if _key(one) not in new), *found])
    return found, missing


def _key(one: Constants) -> tuple[str, str, str, str]:
    return one.framework, one.engine, one.mode, one.device


def constants_table(found: list[Constants]) -> Table:
    """What was measured, a column for each framework, engine and mode."""
    kinds = " and ".join(dict.fromkeys(f"{one.mode} on {one.device}" for one in found))
    table = Table("", *(label(one.framework, one.engine) for one in found),
                  title=f"This machine's constants, {kinds}")
    columns = [_cells(one.values, one.errors) for one in found]
    for name, *cells in zip(HEADINGS, *columns, strict=True):
        table.add_row(name, *cells)
    return table


def _cells(values: Mapping[str, float], errors: Mapping[str, float]) -> list[str]:
    """The constants in the order of ``HEADINGS``."""
    flops = values["product_flops_s"]
    return [
        f"{rate(flops)}FLOP/s", f"{errors['products']:.0%}",
        seconds(values["ramp_s"]), f"{rate(values['stream_bytes_s'])}B/s",
        f"{rate(values['attention_share'] * flops)}FLOP/s", seconds(values["curve_s"]),
        seconds(values["norm_s"]), seconds(values["launch_s"]), f"{values['update_bytes']:.0f} B",
        seconds(values["all_reduce_s"]), f"{rate(values['all_reduce_bytes_s'])}B/s",
        f"{values['call_slowdown']:.1f} × as long", f"{values['contention']:.2f} × as long",
    ]
